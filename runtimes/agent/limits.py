"""What an agent gives to those who know its token, and how little to those who do not."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_MIB, _GIB = 2**20, 2**30


def machine_memory() -> int:
    """Bytes of the machine's memory, 4 GiB where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return 4 * _GIB


def _three_quarters() -> int:
    return max(2 * _GIB, machine_memory() * 3 // 4)


@dataclass(frozen=True)
class Limits:
    """The limits of an agent; all of them hold for those who know the token, too.

    Attributes:
        body_bytes: A request or an answer: tensors, or one part of a model.
        flight_bytes: All requests that are being received or worked on.
        model_bytes: The files of one model.
        cache_bytes: Parts of models that are kept for the next time.
        tensors: Arrays in one request.
        jobs: Processes that run models, at the same time.
        connections: Open connections, and ``connections_each`` from one address.
        requests_per_second: Of one address, with bursts of so many seconds' worth.
        head_seconds: Until the head of a request has to be there, and TLS agreed on.
        idle_seconds: Until a job that nobody asks is ended, and a quiet connection closed.
        seconds: One request of a job.
        cpu_seconds: All of a job, on all cores.
        memory_bytes: Addresses that a job may use.
    """

    body_bytes: int = 256 * _MIB
    flight_bytes: int = _GIB
    model_bytes: int = 4 * _GIB
    cache_bytes: int = 8 * _GIB
    tensors: int = 256
    jobs: int = 4
    connections: int = 64
    connections_each: int = 16
    requests_per_second: float = 100.0
    head_seconds: float = 10.0
    idle_seconds: float = 300.0
    seconds: float = 600.0
    cpu_seconds: int = 7200
    memory_bytes: int = field(default_factory=_three_quarters)


class Counter:
    """How much of something is in use, of ``most``."""

    def __init__(self, most: float) -> None:
        self.most, self.used = most, 0.0
        self._lock = threading.Lock()

    def take(self, amount: float = 1) -> bool:
        """Take ``amount``, if it is there."""
        with self._lock:
            if self.used + amount > self.most:
                return False
            self.used += amount
            return True

    def give_back(self, amount: float = 1) -> None:
        """The reverse."""
        with self._lock:
            self.used -= amount


class Turns:
    """What is timed runs alone; everything else may run side by side."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running, self._waiting, self._alone = 0, 0, False

    @contextmanager
    def turn(self, *, alone: bool) -> Iterator[None]:
        """Wait until it may run, and run; whoever is ``alone`` is not overtaken by others."""
        with self._changed:
            if alone:
                self._waiting += 1
                self._changed.wait_for(lambda: not self._running and not self._alone)
                self._waiting -= 1
                self._alone = True
            else:
                self._changed.wait_for(lambda: not self._alone and not self._waiting)
                self._running += 1
        try:
            yield
        finally:
            with self._changed:
                if alone:
                    self._alone = False
                else:
                    self._running -= 1
                self._changed.notify_all()
