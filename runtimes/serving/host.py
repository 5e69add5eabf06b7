"""Where a scheduler works: the event loop, and the threads of the replicas."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, Protocol

from runtimes.base import Array

Outcome = Sequence[Array] | BaseException
Outcomes = list[Outcome]
Work = Callable[[], Outcomes]
Done = Callable[[Outcomes], None]


class Host(Protocol):
    """What a scheduler needs of its surroundings; tests give it one that does nothing by itself."""

    def call_soon(self, callback: Callable[[], None]) -> Any:
        """Call it in the next pass of the event loop."""

    def create_future(self) -> asyncio.Future[Any]:
        """A future of the event loop."""

    def run_in_thread(self, work: Work, done: Done) -> None:
        """Run ``work`` in a thread, and ``done`` with what it returned in the event loop."""

    def now(self) -> float:
        """Seconds of a clock that never goes back."""


class LoopHost:
    """An event loop, with threads that live as long as the server."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.call_soon = loop.call_soon
        self.create_future = loop.create_future
        self.now = time.perf_counter
        # Written in C: a hop costs a fifth of what an executor's futures cost.
        self._waiting: SimpleQueue[tuple[Work, Done] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0

    def run_in_thread(self, work: Work, done: Done) -> None:
        """Run ``work`` in a thread; another one is started where all are busy."""
        self._busy += 1
        if self._busy > len(self._threads):
            name = f"kilnx-replica-{len(self._threads)}"
            thread = threading.Thread(target=self._serve, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        self._waiting.put((work, done))

    def close(self) -> None:
        """End the threads once they have done what they do."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _serve(self) -> None:
        while (task := self._waiting.get()) is not None:
            work, done = task
            outcomes = work()
            del work, task  # nothing of a request lives on while the thread waits
            self._loop.call_soon_threadsafe(self._done, done, outcomes)
            del done, outcomes

    def _done(self, done: Done, outcomes: Outcomes) -> None:
        self._busy -= 1
        done(outcomes)
