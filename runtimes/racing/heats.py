"""Times the entries against each other: started anew in every launch, interleaved in heats.

As in ``runtimes.profiling.timing``, every entry is loaded several times, because memory placement
changes a session's speed for as long as it lives. Within a heat the entries take turns in random
order, a slice of time each, so that drift of the machine's speed affects all alike; those that
wait are blocked on a socket. Few entries run in one heat, because all of its models are in memory
at the same time; who meets whom is drawn anew in every launch.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from runtimes.base import Feed
from runtimes.errors import KilnxError
from runtimes.racing.options import RaceOptions
from runtimes.racing.places import Racer

_ROUNDS = 8
_WARM_UP_ROUNDS = 2


@dataclass
class Timed:
    """What was measured of one entry: seconds of runs by batch size and launch, and the rest.

    ``waited`` holds, for each launch, the share of that time in which a run waited for a core that
    other processes had. ``fault``: why it was not timed to the end.
    """

    launches: dict[int, list[list[float]]] = field(default_factory=dict)
    load: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    fault: str | None = None

    def medians(self, batch: int) -> list[float]:
        """The median seconds of a run in each launch."""
        return [statistics.median(one) for one in self.launches.get(batch, []) if one]


@dataclass(frozen=True)
class Starter:
    """An entry that can be started: how, and what it is timed with, by batch size."""

    start: Callable[[], Racer]
    feeds: Mapping[int, Feed]


def run_heats(
    starters: Sequence[Starter],
    options: RaceOptions,
    *,
    largest_heat: int,
    seed: int = 0,
    progress: Callable[[int, int], Any] = lambda done, total: None,
) -> list[Timed]:
    """Time all entries; one whose engine fails is timed no further, and the others go on.

    ``largest_heat``: how many of them may be open at the same time.
    """
    rng = np.random.default_rng(seed)
    found = [Timed() for _ in starters]
    done, total = 0, options.launches * len(starters)
    for _ in range(options.launches):
        order = [int(place) for place in rng.permutation(len(starters))]
        for begin in range(0, len(order), largest_heat):
            heat = order[begin : begin + largest_heat]
            _run_heat([(starters[place], found[place]) for place in heat], options, rng)
            done += len(heat)
            progress(done, total)
    return found


def _run_heat(
    entries: Sequence[tuple[Starter, Timed]], options: RaceOptions, rng: np.random.Generator
) -> None:
    with ExitStack() as stack:
        ready: list[tuple[Racer, Starter, Timed]] = []
        for starter, timed in entries:
            if timed.fault is not None:
                continue
            try:
                runtime = starter.start()
                stack.enter_context(runtime)
                timed.load.append(runtime.load_seconds)
            except KilnxError as error:
                timed.fault = str(error)
                continue
            ready.append((runtime, starter, timed))
        sizes = dict.fromkeys(size for _, starter, _ in ready for size in starter.feeds)
        for place, size in enumerate(sizes):
            takers = [one for one in ready if size in one[1].feeds]
            _take_turns(takers, size, options, rng, first=place == 0)
        for runtime, _, timed in ready:
            _guarded(timed, partial(_look_back, runtime, timed))


def _take_turns(
    entries: Sequence[tuple[Racer, Starter, Timed]],
    size: int,
    options: RaceOptions,
    rng: np.random.Generator,
    *,
    first: bool,
) -> None:
    """Rounds of a slice of time each; the first ones warm up and do not count."""
    share = 1 / options.launches
    spent = dict.fromkeys(range(len(entries)), 0.0)
    for runtime, starter, timed in entries:
        timed.launches.setdefault(size, []).append([])
        seconds = _guarded(timed, partial(runtime.hold, str(size), starter.feeds[size]))
        if first and seconds is not None:
            timed.first.append(seconds)
    for turn in range(_WARM_UP_ROUNDS + _ROUNDS):
        for place in rng.permutation(len(entries)):
            runtime, _, timed = entries[place]
            runs = timed.launches[size][-1]
            if timed.fault is not None or (runs and spent[place] > options.max_time * share):
                continue
            slice_ = options.min_time * share / _ROUNDS
            found = _guarded(timed, partial(runtime.time, str(size), slice_)) or []
            spent[place] += sum(found)
            # A model whose warm-up took all the time there is keeps it rather than nothing.
            if turn >= _WARM_UP_ROUNDS or spent[place] > options.max_time * share / 2:
                runs += found


def _look_back(runtime: Racer, timed: Timed) -> None:
    """What only the end of a launch can tell: the peak of memory, and how often runs waited."""
    timed.waited.append(runtime.disturbed())
    peak = runtime.memory()
    if peak is not None:
        timed.memory.append(peak)


def _guarded(timed: Timed, call: Callable[[], Any]) -> Any:
    """What ``call`` returns; None where the entry's engine failed, before or in it."""
    if timed.fault is not None:
        return None
    try:
        return call()
    except KilnxError as error:
        timed.fault = str(error)
        return None
