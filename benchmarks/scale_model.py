"""What calibration over many workers should take: a simulation, and the sizes of what moves.

    python benchmarks/scale_model.py --samples 100000000 --workers 1000 --sample-ms 50

Shards are given out in turn; a worker that is done takes the next one. Workers differ in speed by
``--spread`` (a log-normal share), and each may die with the chance ``--death`` per shard, which is
then run again. ``benchmarks/scale.py`` measures the small end and prints this beside it.
"""

from __future__ import annotations

import argparse
import heapq
from dataclasses import dataclass

import numpy as np

KEPT_SAMPLES = 352


@dataclass(frozen=True)
class Job:
    """``sample_seconds`` and ``start_seconds`` (of a session, a shard) are those of one worker."""

    samples: int
    workers: int
    sample_seconds: float
    start_seconds: float
    shards_a_worker: int = 4
    spread: float = 0.0
    death: float = 0.0

    @property
    def shards(self) -> int:
        """How many shards there are: no more than blocks of 32 samples."""
        return min(-(-self.samples // 32), self.shards_a_worker * self.workers)


def makespan(job: Job, seed: int = 0) -> float:
    """Seconds until the last shard is done."""
    rng = np.random.default_rng(seed)
    slowness = rng.lognormal(0.0, job.spread, job.workers)
    seconds = job.samples / job.shards * job.sample_seconds + job.start_seconds
    free = [(0.0, worker) for worker in range(job.workers)]
    left, last = job.shards, 0.0
    while left:
        now, worker = heapq.heappop(free)
        dies = rng.random() < job.death
        done = now + seconds * slowness[worker] * (rng.random() if dies else 1.0)
        left -= not dies
        last = last if dies else max(last, done)
        heapq.heappush(free, (done, worker))
    return last


def bytes_moved(job: Job, model: int, channels: int, sample: int) -> dict[str, int]:
    """Bytes to the workers, and from them: float32 ends of every channel, and kept samples."""
    return {
        "models": model * job.workers,
        "results": 8 * channels * job.shards,
        "kept samples": min(job.samples, KEPT_SAMPLES) * sample,
    }


def main() -> None:
    """Print seconds for several numbers of shards a worker, and the bytes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=100_000_000)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--sample-ms", type=float, default=50.0)
    parser.add_argument("--start-seconds", type=float, default=1.0)
    parser.add_argument("--spread", type=float, default=0.1)
    parser.add_argument("--death", type=float, default=0.01)
    parser.add_argument("--model-bytes", type=int, default=102_000_000)
    parser.add_argument("--channels", type=int, default=27_000)
    parser.add_argument("--sample-bytes", type=int, default=602_112)
    args = parser.parse_args()
    for shards in (1, 4, 16):
        job = Job(
            args.samples,
            args.workers,
            args.sample_ms / 1e3,
            args.start_seconds,
            shards,
            args.spread,
            args.death,
        )
        ideal = args.samples * args.sample_ms / 1e3 / args.workers
        found = makespan(job)
        moved = bytes_moved(job, args.model_bytes, args.channels, args.sample_bytes)
        sizes = ", ".join(f"{what} {size / 1e9:.2f} GB" for what, size in moved.items())
        print(f"{shards:3} shards a worker: {found:8.0f} s, {found / ideal:.2f}x ideal; {sizes}")


if __name__ == "__main__":
    main()
