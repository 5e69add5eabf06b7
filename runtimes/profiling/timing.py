"""Timing functions against each other on a noisy machine.

The method of Kalibera and Jones, Rigorous Benchmarking in Reasonable Time, ISMM 2013: repeat at
the level where the variation arises. Memory placement changes a session's speed by half a percent
for its whole lifetime, so a model has to be loaded several times, and the interval comes from the
differences between these launches.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from runtimes.base import Array, SelfTimed

Clock = Callable[[], float]
"""Seconds from an arbitrary start."""

# The first rounds fill caches and allocate memory; a tenth of the time is spent on warm-up.
_WARM_UP_ROUNDS = 3

# 97.5% quantiles of Student's t for 1, 2, … degrees of freedom.
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95% confidence interval."""

    value: float
    low: float
    high: float


def interleave(
    functions: Sequence[Callable[[], object]],
    *,
    min_time: float,
    max_time: float,
    min_rounds: int = 10,
    seed: int = 0,
    clock: Clock = time.perf_counter,
) -> Array:
    """Call the functions in rounds; returns the seconds of each call, [functions, rounds].

    A ``SelfTimed`` function says itself how long it took.

    A round calls each function once, in random order, so that drift affects all of them equally.
    Three rounds, or a tenth of ``min_time``, are a warm-up and do not count. Measured rounds then
    continue for ``min_time`` seconds and at least ``min_rounds`` rounds. The warm-up ends at the
    latest after half of ``max_time``, the measurement after all of it, once the current round is
    complete; at least one round is measured.
    """
    rng = np.random.default_rng(seed)
    begin = clock()
    seconds: list[list[float]] = []
    collecting = gc.isenabled()
    gc.disable()  # a collection would be charged to the function during which it happens
    try:
        rounds = 0
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
                row[place] = seconds_of(functions[place], clock)
            seconds.append(row)
            now = clock()
            if now - begin > max_time or (now - start >= min_time and len(seconds) >= min_rounds):
                break
    finally:
        if collecting:
            gc.enable()
    return np.array(seconds).T


def seconds_of(function: Callable[[], object], clock: Clock = time.perf_counter) -> float:
    """How long a call takes: by ``clock``, or by what a ``SelfTimed`` function says."""
    if isinstance(function, SelfTimed):
        return function()
    before = clock()
    function()
    return clock() - before


def overhead(clock: Clock = time.perf_counter, rounds: int = 2000) -> float:
    """Seconds that ``interleave`` adds to each call: the median time of an empty function."""
    nothing = [lambda: None]
    seconds = []
    for _ in range(rounds):
        before = clock()
        nothing[0]()
        seconds.append(clock() - before)
    return statistics.median(seconds)


def ratio_of_medians(launches: Sequence[tuple[Array, Array]]) -> Interval:
    """How many times as long the first of two functions takes, over several launches.

    ``launches`` holds the seconds of both functions for each of 2 to 11 launches. The value is the
    geometric mean of the launches' ratios of medians. The interval is a Student's t interval on the
    logarithm of the ratio, so that a against b is the inverse of b against a.
    """
    logs = [math.log(np.median(one) / np.median(other)) for one, other in launches]
    if not 2 <= len(logs) <= len(_STUDENT) + 1:
        raise ValueError(f"an interval needs 2 to {len(_STUDENT) + 1} launches, not {len(logs)}")
    mean = statistics.fmean(logs)
    half = _STUDENT[len(logs) - 2] * statistics.stdev(logs) / math.sqrt(len(logs))
    return Interval(math.exp(mean), math.exp(mean - half), math.exp(mean + half))
