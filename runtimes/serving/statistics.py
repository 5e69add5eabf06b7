"""What a model has done, in plain integers: counting must cost next to nothing.

They are changed in the event loop only, and read whenever somebody asks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from runtimes.serving.protocol.documents import (
    BatchStatistics,
    InferStatistics,
    ModelStatistics,
    StatisticDuration,
)

BUCKETS = 32
"""Latencies are counted by the number of bits of their microseconds."""


@dataclass(slots=True)
class Statistics:
    """The counters of one version of a model.

    ``latency`` counts answered requests: place ``i`` those that took less than ``2**i`` µs.
    """

    success: int = 0
    success_ns: int = 0
    failed: int = 0
    failed_ns: int = 0
    samples: int = 0
    queue_ns: int = 0
    executions: int = 0
    compute_ns: int = 0
    rejected: int = 0
    expired: int = 0
    cancelled: int = 0
    fp32: int = 0
    last: float = 0.0
    latency: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    batches: dict[int, list[int]] = field(default_factory=dict)

    def executed(self, rows: int, seconds: float) -> None:
        """One execution of ``rows`` samples."""
        took = int(seconds * 1e9)
        self.executions += 1
        self.compute_ns += took
        batch = self.batches.get(rows)
        if batch is None:
            # What clients send themselves may have any size: only so many are told apart.
            batch = self.batches.setdefault(rows if len(self.batches) < 256 else 0, [0, 0])
        batch[0] += 1
        batch[1] += took

    def answered(self, rows: int, seconds: float, waited: float) -> None:
        """One request that was answered."""
        self.success += 1
        self.samples += rows
        self.success_ns += int(seconds * 1e9)
        self.queue_ns += int(waited * 1e9)
        self.latency[min(int(seconds * 1e6).bit_length(), BUCKETS - 1)] += 1

    def document(self, name: str, version: str) -> ModelStatistics:
        """The counters, as the protocol shows them."""
        return ModelStatistics(
            name,
            version,
            int(self.last * 1000),
            self.samples,
            self.executions,
            InferStatistics(
                success=StatisticDuration(self.success, self.success_ns),
                fail=StatisticDuration(self.failed, self.failed_ns),
                queue=StatisticDuration(self.success, self.queue_ns),
                compute_infer=StatisticDuration(self.success, self.compute_ns),
            ),
            tuple(
                BatchStatistics(rows, compute_infer=StatisticDuration(*counted))
                for rows, counted in sorted(self.batches.items())
            ),
        )

    def touch(self) -> None:
        """Note that something was asked just now."""
        self.last = time.time()
