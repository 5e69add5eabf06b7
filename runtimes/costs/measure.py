"""Measuring kernels by themselves, interleaved, until launches agree.

Every kernel that is asked for gets a session of its own, beside a node that does nothing, and all
sessions run in turns: a moment in which the machine is slow meets all of them, and what one leaves
in the caches, the others have replaced, as the layers of a model do. What a kernel reads is written
just before, as the layer before it does. From the time of a run goes that of a session with the
node that does nothing alone.

Two yardsticks run among the kernels: a product of matrices and a sum of vectors. While a machine is
slower (its clock, its neighbours) they are slower, too, and all times of the launch are scaled back
by that. Of a launch (new sessions, placed anew in memory) the faster half of the runs counts. Of
the launches it is the lower quartile: what disturbs a kernel makes it slower, what disturbs a
yardstick makes kernels look faster, and on a busy machine the quartile came out the same more often
than minimum and median did.

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
from runtimes.errors import KilnxError
from runtimes.machine_load import LoadWatch

# Launches agree where the median is this near to the lower quartile, as a share or in microseconds.
_CONFIRMED = 0.04
_CONFIRMED_MICROSECONDS = 0.4
_FEWEST_LAUNCHES, _MOST_LAUNCHES = 5, 11
_WARM_UP = 3
_FEWEST_ROUNDS, _MOST_ROUNDS, _QUICK_ROUNDS = 10, 40, 4
# Copies of a short kernel run together: a run has to be long next to the clock.
_LONG_ENOUGH_MICROSECONDS = 50.0
_RUNS_OF_NOTHING = 500
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


def runs_alone(kernel: Kernel) -> bool:
    """Whether ``kernel`` runs by itself on made-up numbers; some floats steer, too, like scales."""
    if not kernel.can_be_isolated or kernel.node is None:
        return False
    bench = bench_of(kernel)
    try:
        with OrtRuntime(bench.model, threads=1, optimization="disabled") as runtime:
            runtime.run(dict(bench.feed))
    except KilnxError:
        return False
    return True


def measure_yardsticks(table: CostTable) -> None:
    """Add to a new ``table`` its yardsticks, and what a run costs beside the kernels."""
    launches = _launches([], table)
    for name in yardsticks():
        table.yardsticks[name] = round(min(one[name] for one in launches), 3)
    table.run_microseconds = round(_run_alone(table) * speed_now(table), 3)


def _run_alone(table: CostTable) -> float:
    """Microseconds of a run of nothing, again and again, as a model is run: all of it is cached."""
    bench = nothing(2)
    with OrtRuntime(
        bench.model, threads=table.machine.threads or None, config=NO_SPINNING
    ) as runtime:
        run = runtime.prepare(dict(bench.feed))
        (seconds,) = _rounds([(run, [])], _RUNS_OF_NOTHING)
    return _fast(np.array(seconds)) * 1e6


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
    fewest, watch = _FEWEST_LAUNCHES, LoadWatch()
    while len(found) < fewest or (len(found) < _MOST_LAUNCHES and not _confirmed(found, table)):
        found.append(_launch(benches, threads))
        if watch.look().is_busy:
            fewest = _MOST_LAUNCHES
    return found


def _copies(microseconds: float) -> int:
    """How many of a kernel stand in one session: as many as make a run long enough to be timed."""
    return int(min(_MOST_COPIES, max(1, _LONG_ENOUGH_MICROSECONDS // microseconds)))


def _launch(
    benches: Mapping[str, Bench], threads: int | None, rounds: int = _MOST_ROUNDS
) -> Mapping[str, float]:
    """Microseconds of every bench in sessions of their own, run in turns."""
    beside = {len(one.feed) for one in benches.values()}
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
    return {
        name: max((fast[name] - fast[f"{_BESIDE}{len(bench.feed)}"]) / bench.copies, 0.05)
        for name, bench in benches.items()
    }


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


def _confirmed(launches: Sequence[Mapping[str, float]], table: CostTable) -> bool:
    """Whether launches agree about all that takes long.

    What takes a five-hundredth of the time does not keep the others waiting.
    """
    found = {name: _quartile(times) for name, times in _by_name(launches, table).items()}
    total = sum(time for time, _ in found.values())
    return all(
        apart <= max(_CONFIRMED * time, _CONFIRMED_MICROSECONDS) or time <= 0.002 * total
        for time, apart in found.values()
    )


def _readings(
    launches: Sequence[Mapping[str, float]], table: CostTable
) -> Iterator[tuple[str, Reading]]:
    for name, times in _by_name(launches, table).items():
        if name not in table.yardsticks:
            time, apart = _quartile(times)
            yield name, Reading.of(time, apart / max(time, 0.5), len(launches))


def _by_name(
    launches: Sequence[Mapping[str, float]], table: CostTable
) -> Mapping[str, Sequence[float]]:
    """What each took in every launch, scaled by how fast the machine was then."""
    scaled = [(one, _speed(one, table)) for one in launches]
    return {name: [one[name] * speed for one, speed in scaled] for name in launches[0]}


def _quartile(times: Sequence[float]) -> tuple[float, float]:
    """The lower quartile, and how far the median is above it."""
    low, middle = np.quantile(times, [0.25, 0.5])
    return float(low), float(middle - low)


def _speed(launch: Mapping[str, float], table: CostTable) -> float:
    """How much faster the machine was when the yardsticks of ``table`` were taken, if they were."""
    if not table.yardsticks:
        return 1.0
    ratios = [known / max(launch[name], 1e-3) for name, known in table.yardsticks.items()]
    return math.exp(sum(map(math.log, ratios)) / len(ratios))
