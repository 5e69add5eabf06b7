"""The parent's end of an entry's process: it starts it, asks it, and outlives its crash."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from runtimes.base import Array, Closable, Feed
from runtimes.child_process import last_line, python_path, signal_name
from runtimes.errors import ModelError, error_class
from runtimes.racing.arrays import Arrays
from runtimes.racing.channel import Channel
from runtimes.racing.messages import Failure

# By name and not with -m: what the worker sends must have the same classes here.
COMMAND = (sys.executable, "-P", "-c", "from runtimes.racing.worker import main; main()")
"""What is started; the number of a socket is its last argument."""

_SECONDS_TO_CLOSE = 5.0


class EngineProcess(Closable):
    """A process that runs one model in one engine.

    Args:
        name: The entry in messages.
        patience: Seconds after which no answer is taken for none.
    """

    def __init__(self, name: str, *, patience: float) -> None:
        self._name, self._patience = name, patience
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [*COMMAND, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": python_path()},
                start_new_session=True,  # so that Ctrl-C reaches it through us, and all below it
            )
        self._channel: Channel | None = Channel(ours)

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone, or was closed."""
        return self._channel is None or self._process.poll() is not None

    @property
    def _there(self) -> Channel:
        if self._channel is None:
            raise ModelError(f"{self._name}: its process has ended")
        return self._channel

    def ask(self, question: str, *arguments: Any) -> Any:
        """What the worker's method ``question`` returns for these arguments.

        Raises the worker's own ``KilnxError``, or ``ModelError`` where the process died or does not
        answer; it is closed then.
        """
        try:
            self.begin(0, question, *arguments)
        except (EOFError, OSError) as error:
            raise ModelError(self._death()) from error
        return self.answer(lambda: True)

    def begin(self, slot: int, question: str, *arguments: Any) -> None:
        """Ask without waiting for the answer; ``slot`` is free again when it was answered.

        Raises ``OSError`` where the process is gone.
        """
        self._there.send((question, arguments), slot=slot)

    def begin_run(self, slot: int, feed: Feed, names: Sequence[str]) -> None:
        """Ask for a run, as ``begin`` does: the outputs called ``names``.

        The arrays are used there as they are laid down; the answer tells that they no longer are.
        """
        told = Arrays((tuple(feed), tuple(names)), list(feed.values()))
        self._there.send(told, in_place=True, slot=slot)

    def run(self, feed: Feed, names: Sequence[str]) -> list[Array]:
        """The outputs called ``names``; raises as ``ask`` does."""
        try:
            self.begin_run(0, feed, names)
        except (EOFError, OSError) as error:
            raise ModelError(self._death()) from error
        found: list[Array] = self.answer(lambda: True)
        return found

    def answer(self, overdue: Callable[[], bool]) -> Any:
        """The answer to the first question that was not answered yet; raises as ``ask`` does.

        ``overdue``: asked whenever none came for as long as the patience lasts.
        """
        channel = self._there
        try:
            while not channel.poll(self._patience):
                if overdue():
                    self._kill()
                    self.close()
                    raise ModelError(
                        f"{self._name} did not answer within {self._patience:g} s and was given up"
                    )
            found = channel.receive()
        except (EOFError, OSError) as error:
            raise ModelError(self._death()) from error
        if isinstance(found, Failure):
            raise (error_class(found.kind) or ModelError)(found.message)
        return found.arrays if isinstance(found, Arrays) else found

    def close(self) -> None:
        """Let the engine free what it holds, and end its process and all below it."""
        channel, self._channel = self._channel, None
        if channel is None:
            return
        with suppress(OSError, EOFError, ValueError):
            channel.send(("close", ()))
            channel.poll(_SECONDS_TO_CLOSE)
        channel.close()
        self._kill()
        self._log.close()

    def _kill(self) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.2)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _death(self) -> str:
        """Close what is left, and say how the process ended."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS_TO_CLOSE)
        code = self._process.poll()
        said = last_line(self._log)
        self.close()
        return f"{self._name} {_ending(code)}{f': {said}' if said else ''}"


def _ending(code: int | None) -> str:
    if code is None or code >= 0:
        return f"ended its process (exit code {code})"
    hint = " (out of memory?)" if -code == signal.SIGKILL else ""
    return f"crashed with {signal_name(code)}{hint}"
