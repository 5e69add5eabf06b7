"""Measuring kernels by themselves, interleaved, until the fastest launches agree.

Every kernel that is asked for gets a session of its own, beside a node that does nothing, and all
sessions run in turns: a moment in which the machine is slow meets all of them, and what one leaves
in the caches, the others have replaced, as the layers of a model do. What a kernel reads is written
just before, as the layer before it does. From the time of a run goes that of a session with the
node that does nothing alone.

What disturbs a run only makes it slower: of a launch (new sessions, placed anew in memory) the
faster half of the runs counts, of the launches the fastest, and it is believed when a second one
confirms it. Two yardsticks run among the kernels: a product of matrices and a sum of vectors. While
a machine is slower (its clock, its neighbours) they are slower, too, and all times of the launch
are scaled back by that.

The profiler of ONNX Runtime is not asked: it spends microseconds on every node, within what it
counts as the node's time, which is as long as many kernels take.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack

import numpy as np

from runtimes.base import Array
from runtimes.costs.bench import Bench, bench_of, nothing, yardsticks
from runtimes.costs.kernels import Executed, Kernel
from runtimes.costs.table import CostTable, Reading
from runtimes.engines.ort import NO_SPINNING, OrtRuntime

# Two launches that are this near to each other, as a share or in microseconds, confirm a time.
_CONFIRMED = 0.05
_CONFIRMED_MICROSECONDS = 0.4
_FEWEST_LAUNCHES, _MOST_LAUNCHES = 3, 8
_WARM_UP = 3
_FEWEST_ROUNDS, _MOST_ROUNDS, _QUICK_ROUNDS = 10, 40, 4
# Copies of a short kernel run together: a run has to be long next to the clock.
_LONG_ENOUGH_MICROSECONDS = 50.0
_MOST_COPIES = 10
_SECONDS_A_LAUNCH = 0.6
# Of the sessions that are open together: weights and activations, and how many.
_MOST_BYTES = 192 * 2**20
_MOST_KERNELS = 150
# What the profiler adds to a node, where it has to be asked.
_PROFILER_MICROSECONDS = 4.0


def measure(kernels: Sequence[Kernel], table: CostTable) -> None:
    """Add readings of ``kernels``, which can be isolated, to ``table``."""
    wanted = {one.signature: one for one in kernels if one.signature not in table.readings}
    for some in _chunks(list(wanted.values())):
        table.readings.update(_readings(_launches(some, table), table))


def measure_yardsticks(table: CostTable) -> None:
    """Add to a new ``table`` its yardsticks, and what a run costs beside the kernels."""
    launches = _launches([], table)
    for name in yardsticks():
        table.yardsticks[name] = round(min(one[name] for one in launches), 3)
    every = [one[_BESIDE] * _speed(one, table) for one in launches]
    table.run_microseconds = round(min(every), 3)


def measure_in_situ(executed: Sequence[Executed], table: CostTable) -> None:
    """Add readings of kernels that were timed in their model, where no others can be had.

    What a loop does depends on what it reads, so it cannot be measured by itself.
    """
    for one in executed:
        if one.kernel.signature not in table.readings:
            every = np.array(one.microseconds).reshape(-1, one.times).sum(axis=1)
            fast = _fast(every[_WARM_UP:] if len(every) > _WARM_UP else every) / one.times
            fast = max(fast - _PROFILER_MICROSECONDS, 0.5)
            table.readings[one.kernel.signature] = Reading.of(fast, 0.1, 1)


def speed_now(table: CostTable) -> float:
    """How much faster the machine was when the yardsticks of ``table`` were taken."""
    return _speed(_launch(yardsticks(), table.machine.threads or None), table)


_BESIDE = "nothing"


def _chunks(kernels: Sequence[Kernel]) -> Iterator[list[Kernel]]:
    """As many kernels at a time as memory holds."""
    chunk: list[Kernel] = []
    held = 0
    for one in kernels:
        size = sum(math.prod(read.shape) * 4 for read in one.inputs if read is not None)
        if chunk and (held + size > _MOST_BYTES or len(chunk) >= _MOST_KERNELS):
            yield chunk
            chunk, held = [], 0
        chunk.append(one)
        held += size
    if chunk:
        yield chunk


def _launches(kernels: Sequence[Kernel], table: CostTable) -> list[Mapping[str, float]]:
    """Microseconds of every kernel and yardstick, by launch."""
    threads = table.machine.threads or None
    benches = {one.signature: bench_of(one) for one in kernels}
    if benches:
        first = _launch(benches, threads, rounds=_QUICK_ROUNDS)
        copies = {name: _copies(first[name]) for name in benches}
        benches |= {
            one.signature: bench_of(one, copies[one.signature])
            for one in kernels
            if copies[one.signature] > 1
        }
    benches |= yardsticks()
    found: list[Mapping[str, float]] = []
    while len(found) < _FEWEST_LAUNCHES or (len(found) < _MOST_LAUNCHES and not _confirmed(found)):
        found.append(_launch(benches, threads))
    return found


def _copies(microseconds: float) -> int:
    """How many of a kernel stand in one session: as many as make a run long enough to be timed."""
    return int(min(_MOST_COPIES, max(1, _LONG_ENOUGH_MICROSECONDS // microseconds)))


def _launch(
    benches: Mapping[str, Bench], threads: int | None, rounds: int = _MOST_ROUNDS
) -> Mapping[str, float]:
    """Microseconds of every bench in sessions of their own, run in turns."""
    beside = {len(one.feed) for one in benches.values()} | {2}
    every = {**benches, **{f"{_BESIDE}{count}": nothing(count) for count in beside}}
    with ExitStack() as stack:
        runs = []
        for bench in every.values():
            runtime = OrtRuntime(
                bench.model, threads=threads, optimization="disabled", config=NO_SPINNING
            )
            stack.enter_context(runtime)
            feed = {name: array.copy() for name, array in bench.feed.items()}
            runs.append((runtime.prepare(feed), [(feed[n], a) for n, a in bench.feed.items()]))
        seconds = _rounds(runs, rounds)
    fast = {name: _fast(np.array(one)) * 1e6 for name, one in zip(every, seconds, strict=True)}
    found = {
        name: max((fast[name] - fast[f"{_BESIDE}{len(bench.feed)}"]) / bench.copies, 0.05)
        for name, bench in benches.items()
    }
    return {**found, _BESIDE: fast[f"{_BESIDE}2"]}


def _rounds(
    runs: Sequence[tuple[Callable[[], object], Sequence[tuple[Array, Array]]]], most: int
) -> list[list[float]]:
    """Seconds of each run, in turns, for a while."""
    seconds: list[list[float]] = [[] for _ in runs]
    clock, copy = time.perf_counter, np.copyto
    end, rounds = math.inf, 0
    while rounds < min(most, _FEWEST_ROUNDS) + _WARM_UP or (
        rounds < most + _WARM_UP and clock() < end
    ):
        for (run, inputs), found in zip(runs, seconds, strict=True):
            for array, given in inputs:
                copy(array, given)
            start = clock()
            run()
            found.append(clock() - start)
        rounds += 1
        if rounds == _WARM_UP:
            end = clock() + _SECONDS_A_LAUNCH
    return [one[_WARM_UP:] for one in seconds]


def _fast(durations: Array) -> float:
    """The mean of the faster half."""
    half = np.sort(durations)[: max(1, (len(durations) + 1) // 2)]
    return float(half.mean())


def _confirmed(launches: Sequence[Mapping[str, float]]) -> bool:
    """Whether of all that takes long a second launch was about as fast as the fastest.

    What takes a five-hundredth of the time does not keep the others waiting.
    """
    total = sum(min(one[name] for one in launches) for name in launches[0])
    for name in launches[0]:
        first, second = sorted(one[name] for one in launches)[:2]
        near = max(_CONFIRMED * first, _CONFIRMED_MICROSECONDS)
        if second - first > near and first > 0.002 * total:
            return False
    return True


def _readings(
    launches: Sequence[Mapping[str, float]], table: CostTable
) -> Iterator[tuple[str, Reading]]:
    scaled = []
    for one in launches:
        speed = _speed(one, table)
        scaled.append({name: value * speed for name, value in one.items()})
    for name in set(launches[0]) - {_BESIDE, *table.yardsticks}:
        first, second = sorted(one[name] for one in scaled)[:2]
        yield name, Reading.of(first, (second - first) / max(first, 0.5), len(launches))


def _speed(launch: Mapping[str, float], table: CostTable) -> float:
    """How much faster the machine was when the yardsticks of ``table`` were taken."""
    ratios = [known / max(launch[name], 1e-3) for name, known in table.yardsticks.items()]
    return math.exp(sum(map(math.log, ratios)) / len(ratios))
