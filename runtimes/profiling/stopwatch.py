"""Times one model in the process that has it open, a slice of time whenever it is asked to.

Where models take turns from process to process, each is told when to run; what is told back are the
seconds of its runs, so that the way between the processes is no part of them.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

from runtimes.base import Feed
from runtimes.engines.runtime import Runtime
from runtimes.errors import DataError
from runtimes.machine_load import now
from runtimes.process_memory import peak_bytes
from runtimes.profiling.timing import seconds_of

# A model that takes no time at all should not fill memory with its times.
_MOST_RUNS = 200_000


class Stopwatch:
    """Opens a model, runs it and times it; memory is counted from when it is made.

    Attributes:
        load_seconds: How long it took to open the model.
    """

    def __init__(self) -> None:
        self._runtime: Runtime | None = None
        self._calls: dict[str, Callable[[], object]] = {}
        self._before = peak_bytes()
        self._timed = self._waited = 0.0
        self.load_seconds = 0.0

    def open(self, start: Callable[[], Runtime]) -> Runtime:
        """The runtime that ``start`` opens; how long that takes is ``load_seconds``."""
        begin = time.perf_counter()
        self._runtime = start()
        self.load_seconds = time.perf_counter() - begin
        return self._runtime

    @property
    def runtime(self) -> Runtime:
        """The model that is open; raises ``DataError`` where none is."""
        if self._runtime is None:
            raise DataError("no model is open to be run or timed")
        return self._runtime

    def hold(self, key: str, feed: Feed) -> float:
        """Keep ``feed`` to be timed under ``key``; the seconds of its first run."""
        begin = time.perf_counter()
        self.runtime.run(feed)
        seconds = time.perf_counter() - begin
        self._calls[key] = self.runtime.prepare(feed)
        return seconds

    def time(self, key: str, seconds: float) -> list[float]:
        """Seconds of each run of what is held, until all took ``seconds``; one run at least.

        An engine that runs in yet another process says itself how long it took. Raises
        ``DataError`` where nothing is held under ``key``.
        """
        call = self._calls.get(key)
        if call is None:
            raise DataError(f"there is nothing to time under {key[:80]!r}")
        found: list[float] = []
        collecting = gc.isenabled()
        gc.disable()  # a collection would be charged to the run during which it happens
        start = now()
        try:
            while not found or (
                time.perf_counter() - start.clock < seconds and len(found) < _MOST_RUNS
            ):
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
        peak = peak_bytes()
        return None if peak is None or self._before is None else max(0, peak - self._before)

    def close(self) -> None:
        """Free the model, and with it what the engine started."""
        self._calls.clear()
        runtime, self._runtime = self._runtime, None
        if runtime is not None:
            runtime.close()
