"""What the runs of an entry come to: latency, spread, throughput, memory and load time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from runtimes.racing.entry import Entry, Speed
from runtimes.racing.heats import Timed


def with_times(entry: Entry, timed: Timed) -> Entry:
    """``entry`` with what was measured of it."""
    sizes = sorted(timed.launches)
    speeds = [speed for size in sizes if (speed := _speed(size, timed)) is not None]
    return replace(
        entry,
        failed=timed.fault,
        latency=speeds[0] if speeds else None,
        at_batch=speeds[1] if len(speeds) > 1 else None,
        memory_bytes=_median(timed.memory),
        load_ms=None if not timed.load else float(np.median(timed.load)) * 1e3,
        first_run_ms=None if not timed.first else float(np.median(timed.first)) * 1e3,
    )


def _speed(size: int, timed: Timed) -> Speed | None:
    runs = [seconds for one in timed.launches[size] for seconds in one]
    if not runs:
        return None
    p50, p90 = (float(value) for value in np.percentile(np.array(runs) * 1e3, [50, 90]))
    medians = timed.medians(size)
    spread = None
    if len(medians) > 1:
        spread = (max(medians) - min(medians)) / 2 * 1e3 / p50
    return Speed(size, len(runs), p50, p90, spread, size / p50 * 1e3)


def _median(values: Sequence[int]) -> int | None:
    return int(np.median(values)) if values else None
