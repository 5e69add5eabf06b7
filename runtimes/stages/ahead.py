"""A stage in a process of its own, which is given requests before it has answered others.

So the process finds the next request where it looks for it, and need not wake this one up for it:
on a busy machine a wake-up costs more than the messages, as whoever wakes finds its caches cold.
Sending is done by whoever has a request, and one thread takes the answers and hands them on.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from runtimes.racing.remote import RemoteRuntime
from runtimes.stages.request import Failed, Passed, Request
from runtimes.stages.seat import Seat, only


@dataclass
class _Given:
    """A request that the process has, or None where it only is to answer; ``sent``: it has it."""

    request: Request | None
    slot: int
    sent: bool = False


class Ahead:
    """``seat``, whose runtime is a process, at work on ``most`` requests at a time.

    ``passed`` and ``failed`` are called in its thread. Where the process dies, what it worked on
    has failed; what it had not begun is given to the one that is started in its place.
    """

    def __init__(self, seat: Seat, most: int, passed: Passed, failed: Failed) -> None:
        self._seat, self._passed, self._failed = seat, passed, failed
        self._room = threading.Semaphore(most)
        self._free = list(range(most, 0, -1))  # slot 0 is that of questions that wait
        self._lock = threading.Lock()  # of the process, and of what it was given
        self._given: deque[_Given] = deque()
        self._listener: threading.Thread | None = None
        self._seen: _Given | None = None  # what the process worked on when it was last overdue

    def put(self, request: Request) -> None:
        """Give it a request, once there is room."""
        self._room.acquire()
        with self._lock:
            given = _Given(request, self._free.pop())
            self._given.append(given)
            error = self._send(given)
        if error is not None:
            self._end(given, error)

    def close(self) -> None:
        """Finish what it was given, and end the thread."""
        while True:
            with self._lock:
                listener = self._listener
                if listener is None:
                    return
                rest = _Given(None, 0)
                self._given.append(rest)
                self._send(rest)
            listener.join()

    def _send(self, given: _Given) -> Exception | None:
        """Send what was given last; why it cannot be sent."""
        runtime: RemoteRuntime | None = None
        try:
            runtime = self._running()
            if given.request is None:
                runtime.begin_rest(given.slot)
            else:
                stage = self._seat.stage
                runtime.begin(given.slot, only(given.request.carried, stage.inputs), stage.outputs)
        except Exception as error:
            gone = isinstance(error, ConnectionError)  # maybe before it is known to have ended
            if runtime is not None and (gone or runtime.has_ended):
                return None  # the listener finds out, and sends it to the next one
            self._given.pop()
            return error
        given.sent = True
        return None

    def _running(self) -> RemoteRuntime:
        """The process, started again where it has ended and nobody waits for its answers."""
        runtime = self._seat.runtime
        assert isinstance(runtime, RemoteRuntime)
        if self._listener is None:
            if runtime.has_ended:
                runtime = self._seat.open_again()
                assert isinstance(runtime, RemoteRuntime)
            self._listener = threading.Thread(
                target=self._listen, args=(runtime,), name=f"kilnx {self._seat.title}", daemon=True
            )
            self._listener.start()
        return runtime

    def _listen(self, runtime: RemoteRuntime) -> None:
        """Take answers, until the process ends or has answered that it rests."""
        while True:
            self._seen = None
            try:
                with self._seat.naming():
                    answer = runtime.answer(self._is_overdue)
            except Exception as error:
                if runtime.has_ended:
                    self._start_anew(error)
                    return
                given = self._given.popleft()
                self._end(given, error)
                continue
            given = self._given.popleft()
            if given.request is None:
                with self._lock:
                    self._listener = None
                return
            self._give_back(given)
            self._passed(given.request, dict(zip(self._seat.stage.outputs, answer, strict=True)))

    def _is_overdue(self) -> bool:
        """Whether the process works on the same request as when this was asked last."""
        before, self._seen = self._seen, self._given[0] if self._given else None
        return before is not None and before is self._seen

    def _start_anew(self, error: Exception) -> None:
        """The process died: what it worked on has failed, and the rest goes to another one."""
        failed: list[tuple[_Given, Exception]] = []
        with self._lock:
            self._listener = None
            left = list(self._given)
            self._given.clear()
            if left and left[0].sent:
                failed.append((left.pop(0), error))
            for one in left:
                if one.request is None:
                    continue  # who closes sees that another one listens
                one.sent = False
                self._given.append(one)
                found = self._send(one)
                if found is not None:
                    failed.append((one, found))
        for one, why in failed:
            self._end(one, why)

    def _end(self, given: _Given, error: Exception) -> None:
        if given.request is not None:
            self._give_back(given)
            self._failed(given.request, error)

    def _give_back(self, given: _Given) -> None:
        # Without the lock: who holds it may wait until the process reads, and that for answers to
        # be taken.
        self._free.append(given.slot)
        self._room.release()
