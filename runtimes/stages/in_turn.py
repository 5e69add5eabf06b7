"""A stage of this process, or on a server: a thread runs one request after the other."""

from __future__ import annotations

import queue
import threading

from runtimes.stages.request import Failed, Passed, Request
from runtimes.stages.seat import Seat


class InTurn:
    """``seat`` at work; ``passed`` and ``failed`` are called in its thread."""

    def __init__(self, seat: Seat, passed: Passed, failed: Failed) -> None:
        self._seat, self._passed, self._failed = seat, passed, failed
        self._waiting: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._worker = threading.Thread(target=self._serve, name=f"kilnx {seat.title}", daemon=True)
        self._worker.start()

    def put(self, request: Request) -> None:
        """Give it a request."""
        self._waiting.put(request)

    def close(self) -> None:
        """Finish what it was given, and end the thread."""
        self._waiting.put(None)
        self._worker.join()

    def _serve(self) -> None:
        while (request := self._waiting.get()) is not None:
            try:
                given = self._seat.run(request.carried)
            except Exception as error:
                self._failed(request, error)
                continue
            self._passed(request, given)
