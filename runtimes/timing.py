"""Timing functions against each other on a machine that is not quiet.

Pairs in random order, medians and a bootstrap interval: after Kalibera and Jones, Rigorous
Benchmarking in Reasonable Time, ISMM 2013.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtimes.base import Array

Clock = Callable[[], float]
"""Seconds from an arbitrary start."""

_MIN_ROUNDS = 10
_WARM_UP_ROUNDS = 3
_RESAMPLES = 1000


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval."""

    value: float
    low: float
    high: float


def interleave(
    functions: Sequence[Callable[[], object]],
    *,
    min_time: float,
    max_time: float,
    seed: int = 0,
    clock: Clock = time.perf_counter,
) -> Array:
    """Call the functions in rounds and give the seconds of each call, [functions, rounds].

    A round calls each function once, in an order drawn at random, so that drift hits all alike.
    At least three rounds, or a tenth of ``min_time``, warm up and do not count. Then rounds go on
    for ``min_time`` seconds and at least ten; after ``max_time`` seconds in all the round that
    is under way is the last, however few there are.
    """
    rng = np.random.default_rng(seed)
    begin = clock()
    seconds: list[list[float]] = []
    rounds = 0
    collecting = gc.isenabled()
    gc.disable()  # a collection would be charged to whichever function it falls into
    try:
        while rounds < _WARM_UP_ROUNDS or clock() - begin < min_time / 10:
            for function in functions:
                function()
            rounds += 1
            if clock() - begin > max_time / 2:
                break
        start = clock()
        while True:
            row = [0.0] * len(functions)
            for place in rng.permutation(len(functions)):
                before = clock()
                functions[place]()
                row[place] = clock() - before
            seconds.append(row)
            now = clock()
            if now - begin > max_time or (now - start >= min_time and len(seconds) >= _MIN_ROUNDS):
                break
    finally:
        if collecting:
            gc.enable()
    return np.array(seconds).T


def median_ratio(
    numerator: Array, denominator: Array, *, seed: int = 0, confidence: float = 0.95
) -> Interval:
    """The ratio of the medians of paired samples, with a percentile bootstrap interval.

    Runs of neighbouring pairs are drawn together (moving blocks, Künsch 1989), because slow
    phases of a machine last longer than one call and neighbours are not independent.
    """
    count = len(numerator)
    if count != len(denominator) or count == 0:
        raise ValueError("a ratio of medians needs as many samples on both sides, and at least one")
    ratio = float(np.median(numerator) / np.median(denominator))
    rng = np.random.default_rng(seed)
    block = max(1, round(count ** (1 / 3)))
    blocks = -(-count // block)
    offsets = np.arange(block)
    ratios: Any = np.empty(_RESAMPLES)
    for i in range(_RESAMPLES):
        starts = rng.integers(0, count - block + 1, blocks)
        drawn = (starts[:, None] + offsets).reshape(-1)[:count]
        ratios[i] = np.median(numerator[drawn]) / np.median(denominator[drawn])
    tail = (1 - confidence) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail])
    # Few samples can leave the estimate outside of its own percentile interval.
    return Interval(ratio, min(float(low), ratio), max(float(high), ratio))
