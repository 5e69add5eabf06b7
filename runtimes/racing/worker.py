"""The process of one entry: it loads a model in one engine, runs it and times it.

``runtimes.racing.process`` starts it with the number of a socket and asks; every question is
answered by a result or an error. Whatever an engine prints goes to a log, and whatever it does to
its process, a crash included, stays there.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

# Loaded before memory is looked at: every entry needs them, whatever its engine.
import numpy as np  # noqa: F401
import onnx  # noqa: F401

from runtimes.base import Array, Feed
from runtimes.engines.open_runtime import open_runtime
from runtimes.engines.ort import NO_SPINNING
from runtimes.engines.runtime import Runtime
from runtimes.errors import KilnxError, first_line
from runtimes.machine_load import now
from runtimes.process_memory import peak_bytes
from runtimes.profiling.timing import seconds_of
from runtimes.racing.messages import Failure, Opened


class Worker:
    """What the other process may ask for, one method each."""

    def __init__(self) -> None:
        self._runtime: Runtime | None = None
        self._calls: dict[str, Callable[[], object]] = {}
        self._before = peak_bytes()
        self._timed = self._waited = 0.0

    def load(self, model: str, provider: str, threads: int | None, fallback: bool) -> Opened:
        """Open ``model`` with the engine's own defaults, except that no thread keeps spinning."""
        begin = time.perf_counter()
        self._runtime = runtime = open_runtime(
            model, provider, threads=threads, config=NO_SPINNING, allow_fallback=fallback
        )
        seconds = time.perf_counter() - begin
        return Opened(runtime.loaded, seconds)

    def run(self, feed: Feed, names: Sequence[str]) -> list[Array]:
        """The outputs called ``names``."""
        found = self._opened.run(feed, names)
        return [found[name] for name in names]

    def prepare(self, key: str, feed: Feed) -> float:
        """Keep ``feed`` to be timed under ``key``; the seconds of its first run."""
        begin = time.perf_counter()
        self._opened.run(feed)
        seconds = time.perf_counter() - begin
        self._calls[key] = self._opened.prepare(feed)
        return seconds

    def time(self, key: str, seconds: float) -> list[float]:
        """Seconds of each run, until all of them took ``seconds``; one run at least.

        An engine that runs in yet another process says itself how long it took.
        """
        call = self._calls[key]
        found: list[float] = []
        collecting = gc.isenabled()
        gc.disable()  # a collection would be charged to the run during which it happens
        start = now()
        try:
            while not found or time.perf_counter() - start.clock < seconds:
                found.append(seconds_of(call))
        finally:
            if collecting:
                gc.enable()
        end = now()
        self._timed += end.clock - start.clock
        self._waited += end.waited - start.waited
        return found

    def disturbed(self) -> float:
        """The share of the timed seconds in which this thread was ready and no core was free."""
        return min(1.0, self._waited / self._timed) if self._timed else 0.0

    def memory(self) -> int | None:
        """Bytes that engine and model added to the peak of this process and those below it."""
        now = peak_bytes()
        return None if now is None or self._before is None else max(0, now - self._before)

    def close(self) -> None:
        """Free the model, and with it what the engine started."""
        self._calls.clear()
        if self._runtime is not None:
            self._runtime.close()

    @property
    def _opened(self) -> Runtime:
        if self._runtime is None:
            raise RuntimeError("no model was loaded")
        return self._runtime


def answer(worker: Worker, question: str, arguments: Sequence[Any]) -> Any:
    """The result of a question, or the ``Failure`` that it ended in."""
    try:
        return getattr(worker, question)(*arguments)
    except KilnxError as error:
        return Failure(type(error).__name__, str(error))
    except MemoryError as error:
        return Failure("ModelError", f"there is not enough memory ({error or 'none is left'})")
    except Exception as error:  # an engine's fault is its entry's, and no other's
        return Failure("ModelError", f"{type(error).__name__}: {first_line(error)}")


def main() -> None:
    """Answer what comes through the socket that the command line names, until it is closed."""
    connection, worker = Connection(int(sys.argv[1])), Worker()
    while True:
        try:
            question, arguments = connection.recv()
        except (EOFError, ConnectionError):
            return
        connection.send(answer(worker, question, arguments))
        if question == "close":
            return
