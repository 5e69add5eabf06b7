"""Start the process of a job, ask it, and end it with everything that it started."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from runtimes.agent.channel import ChannelError, receive, send
from runtimes.agent.limits import Limits
from runtimes.child_process import last_line, python_path, signal_name

_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "XDG_CACHE_HOME", "OMP_NUM_THREADS")


class JobDied(Exception):
    """The process ended in the middle of its work; the text says why."""


class JobProcess:
    """A process in ``folder``, which it may fill."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._limits, self._complaints = limits, folder / "stderr.txt"
        own, theirs = socket.socketpair()
        told = {
            "memory_bytes": limits.memory_bytes,
            "cpu_seconds": limits.cpu_seconds,
            "file_bytes": 2 * limits.model_bytes,
            "frame_bytes": limits.body_bytes,
        }
        module = ["-m", "runtimes.agent.worker", str(theirs.fileno()), json.dumps(told)]
        with theirs, self._complaints.open("wb") as complaints:
            # -P: what was sent into the folder is never imported.
            self._process = subprocess.Popen(
                [sys.executable, "-P", *module],
                cwd=folder,
                env=_environment(folder),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                start_new_session=True,
            )
        self._channel = own

    @property
    def pid(self) -> int:
        """The process, which is the first of its own group."""
        return self._process.pid

    def ask(self, frame: bytes) -> bytes:
        """The answer to ``frame``; raises ``JobDied``, and has then ended the process."""
        deadline = time.monotonic() + self._limits.seconds
        try:
            send(self._channel, frame, deadline)
            return receive(self._channel, self._limits.body_bytes, deadline)
        except (ChannelError, TimeoutError) as error:
            late = time.monotonic() >= deadline
            reason = self._reason(error, late=late)
            self.end()
            raise JobDied(reason) from error

    def end(self) -> None:
        """Kill the process and all that it started; doing so again does nothing."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._channel.close()

    def _reason(self, error: Exception, *, late: bool) -> str:
        if late:
            return f"it took more than {self._limits.seconds:g} s, the most that this agent gives"
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return f"the process that ran it could not be talked to ({error})"
        if code == -signal.SIGXCPU:
            return f"it took more than {self._limits.cpu_seconds} s of CPU"
        if code < 0:
            return (
                f"the process that ran it was ended by {signal_name(code)}; the model "
                "breaks the engine, or needs more memory than the "
                f"{self._limits.memory_bytes >> 20} MiB that a job may use"
            )
        return f"the process that ran it ended (exit code {code}): {self._last_words()}"

    def _last_words(self) -> str:
        with suppress(OSError), self._complaints.open("rb") as file:
            return last_line(file) or "it said nothing"
        return "it said nothing"


def _environment(folder: Path) -> dict[str, str]:
    """What a job sees of the agent's environment: no token, and no other place for its files."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "PYTHONPATH": python_path(), "PYTHONSAFEPATH": "1", "TMPDIR": str(folder)}
