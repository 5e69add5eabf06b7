"""Which of the boundaries to cut at: balanced time first, then the fewest bytes that cross.

The time of a pipeline is that of its slowest stage. Among all ways to cut whose slowest stage is
within a tolerance of the best possible one, the one that moves the fewest bytes is taken. Both are
found exactly, by dynamic programming over the boundaries (the linear partition problem: S. Skiena,
The Algorithm Design Manual, section 10.7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtimes.errors import DataError

Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]

TOLERANCE = 0.05
"""How much longer than the best possible one the slowest stage may take."""


@dataclass(frozen=True)
class Segments:
    """Every stage that could be, from place i to place j > i of the boundaries and both ends.

    Attributes:
        seconds: What a stage takes (any unit of time).
        weight_bytes: The bytes of the weights that it reads; infinite where j is not behind i.
        crossing: Bytes that cross each place; nothing is counted at both ends.
    """

    seconds: Matrix
    weight_bytes: Matrix
    crossing: Sequence[float]

    @property
    def places(self) -> int:
        """Boundaries and both ends."""
        return len(self.crossing)


def choose_places(
    segments: Segments,
    *,
    stages: int | None = None,
    max_bytes: int | None = None,
    tolerance: float = TOLERANCE,
) -> list[int]:
    """The places to cut at, in order, for ``stages`` stages or as few as ``max_bytes`` allows.

    Raises ``DataError`` where there is no such way, and says what is the least.
    """
    most = np.finfo(np.float64).max if max_bytes is None else max_bytes
    allowed = segments.weight_bytes <= most
    counts = range(1, segments.places) if stages is None else (stages,)
    for count in counts:
        slowest = _best(np.where(allowed, segments.seconds, np.inf), count, np.maximum)
        if np.isfinite(slowest):
            return _fewest_bytes(segments, allowed, count, slowest * (1 + tolerance))
    raise DataError(_impossible(segments, stages, max_bytes))


def _fewest_bytes(
    segments: Segments,
    allowed: np.ndarray[tuple[int, int], np.dtype[np.bool_]],
    count: int,
    slowest: float,
) -> list[int]:
    fits = allowed & (segments.seconds <= slowest * (1 + 1e-12))
    entering = np.asarray(segments.crossing, np.float64)
    costs = np.where(fits, entering[:, None], np.inf)
    steps: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []
    best = np.full(segments.places, np.inf)
    best[0] = 0.0
    for _ in range(count):
        reached = best[:, None] + costs
        steps.append(np.argmin(reached, axis=0))
        best = np.min(reached, axis=0)
    place, found = segments.places - 1, []
    for step in reversed(steps):
        place = int(step[place])
        found.append(place)
    return found[-2::-1]  # without the beginning


def _best(costs: Matrix, count: int, join: np.ufunc) -> float:
    """The least that ``count`` segments from the first place to the last can come to."""
    best = np.full(len(costs), np.inf)
    best[0] = 0.0
    for _ in range(count):
        best = np.min(join(best[:, None], costs), axis=0)
    return float(best[-1])


def _impossible(segments: Segments, stages: int | None, max_bytes: int | None) -> str:
    most = segments.places - 1
    if max_bytes is None or (stages is not None and stages > most):
        return f"the graph can be cut into {most} stages at most, not {stages}"
    steps = np.array([segments.weight_bytes[place, place + 1] for place in range(most)])
    largest = int(steps.max())
    if largest > max_bytes:
        return (
            f"no stage can have fewer than {largest:,} bytes of weights, which are those of what "
            f"cannot be cut, and max_bytes is {max_bytes:,}"
        )
    return (
        f"{stages} stages cannot hold the weights with at most {max_bytes:,} bytes each; leave the "
        "number of stages open or allow more bytes"
    )
