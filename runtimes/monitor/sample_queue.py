"""Requests on their way from the server to the monitor's thread: bounded, never waiting."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from runtimes.base import Array

MOST_ROWS = 32
"""Samples of a request that are looked at."""


@dataclass(frozen=True)
class Sample:
    """One request as it was answered; ``by_fp32``: fp32 gave the outputs."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    rows: int
    by_fp32: bool

    @property
    def kind(self) -> object:
        """Requests of one kind can be put side by side."""
        arrays = (*self.inputs.items(), *self.outputs.items())
        return self.by_fp32, tuple((name, one.shape[1:], one.dtype.str) for name, one in arrays)


def copied(arrays: Mapping[str, Array], rows: int, of: int) -> dict[str, Array]:
    """Copies of the first ``rows`` of ``of`` samples: the server may use the memory again.

    What does not have the samples on its first axis is copied whole.
    """
    return {
        name: one[:rows].copy() if one.shape[:1] == (of,) else one.copy()
        for name, one in arrays.items()
    }


def rows_of(arrays: Mapping[str, Array]) -> int:
    """How many samples a request holds."""
    return max((len(one) for one in arrays.values() if one.ndim), default=1)


class SampleQueue:
    """Samples that wait for the monitor's thread."""

    def __init__(self, most: int = 256, most_bytes: int = 64_000_000) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._waiting: deque[Sample] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._busy = False
        self.dropped = 0
        self.closed = False

    def put(self, sample: Sample) -> bool:
        """Add one, or count it as dropped where the queue is full."""
        size = _bytes(sample)
        with self._changed:
            full = len(self._waiting) >= self._most or self._bytes + size > self._most_bytes
            if full or self.closed:
                self.dropped += 1
                return False
            self._waiting.append(sample)
            self._bytes += size
            self._changed.notify_all()
        return True

    def take(self, enough: int, most: int, patience: float) -> list[Sample]:
        """Up to ``most``, when there are ``enough`` of them, or ``patience`` seconds are over."""
        with self._changed:
            self._busy = False
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self.closed or self._flushing or len(self._waiting) >= enough, patience
            )
            taken = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            self._bytes -= sum(map(_bytes, taken))
            self._busy = bool(taken)
        return taken

    _flushing = False

    def flush(self, seconds: float) -> bool:
        """Wait until everything that waits was dealt with; False where it takes too long."""
        with self._changed:
            self._flushing = True
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: not self._waiting and not self._busy, seconds)
            self._flushing = False
        return done

    def close(self) -> None:
        """Take nothing more."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._waiting)


def _bytes(sample: Sample) -> int:
    return sum(one.nbytes for part in (sample.inputs, sample.outputs) for one in part.values())
