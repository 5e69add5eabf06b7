"""A process that answers frames: started, asked and ended; it never outlives its caller."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import IO, Any

from runtimes.child_process import signal_name
from runtimes.engines.onnxruntime_js.channel import Channel, ChannelClosed, ChannelTimeout
from runtimes.engines.onnxruntime_js.frames import Frame, FrameError

START_SECONDS = 120.0

_GRACE_SECONDS = 5.0
_QUOTED = 300


class WorkerFailed(Exception):
    """The process died, hung, or answered something that is no answer; it has been ended."""


class AnsweredError(Exception):
    """The process answered that it failed; it goes on."""


class Worker:
    """One process. It reads frames from its standard input and answers each with one frame.

    The answers come through a pipe of their own, whose number is the last argument of the command:
    what libraries print cannot get between them. The first frame says that the process is ready.

    Args:
        command: The command, but for that last argument.
        seconds: How long an answer may take.

    Attributes:
        greeting: The header of the first frame.

    Raises:
        WorkerFailed: The process cannot be started, or does not say that it is ready.
    """

    def __init__(self, command: Sequence[str], *, seconds: float) -> None:
        self._seconds, self._lock = seconds, threading.Lock()
        self._printed: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115, _end closes it
        answers, theirs = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*command, str(theirs)],
                stdin=subprocess.PIPE,
                stdout=self._printed,
                stderr=self._printed,
                pass_fds=(theirs,),
                start_new_session=True,  # Ctrl-C is for kilnx, which then ends this process
            )
        except OSError as error:
            os.close(answers)
            self._printed.close()
            raise WorkerFailed(f"{command[0]} does not start: {error.strerror}") from error
        finally:
            os.close(theirs)
        assert self._process.stdin is not None
        self._channel = Channel(answers, os.dup(self._process.stdin.fileno()))
        self._process.stdin.close()
        self._end = weakref.finalize(self, _end, self._process, self._channel, self._printed)
        try:
            self.greeting = self._receive(min(seconds, START_SECONDS)).header
        except AnsweredError as error:
            self.close()
            raise WorkerFailed(str(error)) from error

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def ask(self, header: Mapping[str, Any], body: bytes | bytearray = b"") -> Frame:
        """Send a frame and wait for the answer.

        Raises:
            AnsweredError: The answer is an error, in the process's words.
            WorkerFailed: There is no answer; the process has been ended.
        """
        with self._lock:
            if not self._end.alive:
                raise WorkerFailed("the process has ended; open the model again")
            try:
                self._channel.send(Frame(header, body), self._seconds)
            except FrameError as error:
                raise AnsweredError(str(error)) from error
            except ChannelClosed:
                raise WorkerFailed(self._last_words()) from None
            except ChannelTimeout:
                raise WorkerFailed(self._too_slow(self._seconds)) from None
            except BaseException:  # half a frame has been sent: nothing can follow it
                self.close()
                raise
            return self._receive(self._seconds)

    def close(self) -> None:
        """End the process, whatever it is doing. Closing again does nothing."""
        self._end()

    def _receive(self, seconds: float) -> Frame:
        try:
            frame = self._channel.receive(seconds)
        except ChannelClosed:
            raise WorkerFailed(self._last_words()) from None
        except ChannelTimeout:
            raise WorkerFailed(self._too_slow(seconds)) from None
        except FrameError as error:
            self.close()
            raise WorkerFailed(f"the process sent no frame: {error}") from error
        except BaseException:  # the answer would be taken for that to the next question
            self.close()
            raise
        error_text = frame.header.get("error")
        if error_text is not None:
            raise AnsweredError(str(error_text))
        return frame

    def _too_slow(self, seconds: float) -> str:
        self.close()
        return f"the process gave no answer for {seconds:g} s and was ended"

    def _last_words(self) -> str:
        """What is known of a process that died by itself."""
        try:
            code = self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        said = _tail(self._printed)
        self.close()
        return f"the process {_how_it_ended(code)}{f': {said}' if said else ''}"


def _end(process: subprocess.Popen[bytes], channel: Channel, printed: IO[bytes]) -> None:
    process.kill()  # it has nothing to save
    process.wait()
    channel.close()
    printed.close()


def _how_it_ended(code: int | None) -> str:
    if code is None:
        return "closed its pipe"
    if code < 0:
        hint = ": out of memory?" if -code == signal.SIGKILL else ""
        return f"was killed ({signal_name(code)}{hint})"
    return f"ended with exit code {code}"


def _tail(printed: IO[bytes]) -> str:
    """The line that says most of what was printed: the first that names an error, or the last."""
    printed.seek(0, os.SEEK_END)
    printed.seek(max(0, printed.tell() - 64 * 1024))
    text = printed.read().decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line or "error" in line]
    return (errors or lines[-1:] or [""])[0][:_QUOTED]
