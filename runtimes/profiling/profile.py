"""How fast is a model on this machine, and how much faster than another one?"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx_ir as ir

from runtimes.base import Array
from runtimes.cpu_info import own_cores
from runtimes.engines.elsewhere import checked_device
from runtimes.engines.open_runtime import borrow, is_keras, is_runtime
from runtimes.engines.provider_names import WITH_OPERATORS
from runtimes.engines.providers import require_providers
from runtimes.engines.runtime import Runtime
from runtimes.machine_load import LoadWatch
from runtimes.onnx_files.load_save import file_bytes, model_bytes
from runtimes.options import RunOptions, flat_options
from runtimes.profiling.memory import peak_memory
from runtimes.profiling.operators import profile_operators
from runtimes.profiling.options import ProfileOptions, on_target, thread_counts
from runtimes.profiling.report import BatchProfile, Latency, ProfileReport
from runtimes.profiling.timing import Interval, interleave, overhead, ratio_of_medians
from runtimes.profiling.workload import Workload, renamed, workload_of
from runtimes.progress import Progress

__all__ = ["BatchProfile", "Latency", "ProfileOptions", "ProfileReport", "profile"]

T = TypeVar("T")

# Launches, each with new sessions: memory placement changes the time of all runs of a session, so
# an interval needs several. An odd number, so that the median is one of them.
_LAUNCHES = 5
_MIN_LAUNCHES = 2  # if the time is up sooner; two at least show a spread
_MAX_LAUNCHES = 11
_WIDE = 1.1  # if the ends of the interval differ by more than this ratio, launch again
_MIN_ROUNDS = 2  # per launch; ten in all


@flat_options(options=ProfileOptions, run=RunOptions)
def profile(
    model: Any,
    *,
    against: Any = None,
    threads: int | Sequence[int] = 1,
    options: ProfileOptions = ProfileOptions(),
    run: RunOptions = RunOptions(),
) -> ProfileReport:
    """Time a model, interleaved with ``against`` where given.

    Both are loaded again for each of five launches, warmed up, and run in pairs whose order is
    random, so that changes in the machine's speed affect both equally; the module
    ``runtimes.profiling.timing`` explains why. If the interval of the ratio stays wider than 10%,
    up to eleven launches are made; likewise where the machine is busy with other work, which the
    report says. Dynamic dimensions other than the batch come from ``data`` or
    are set to 1. A model with a fixed batch size is timed at that size only. The report's notes say
    both. Keras models and open runtimes are not loaded again. Fields are taken as keywords, too.

    Args:
        model: What ``open_runtime`` takes, or an open runtime.
        against: Another model to interleave with.
        threads: Number of threads per run, or several numbers, each of which is timed.
        options: Where, at which batch sizes, on what data, and what else to measure.
        run: Threads, seed of random inputs, and progress (in launches).

    Returns:
        Latency, throughput and size, and the speed-up with its 95% interval.

    Raises:
        ModelError: The two models take different inputs, or the target does not run one.
        RuntimeUnavailable: The target's engine is not installed.
        ValueError: There is no batch size, or one below 1.

    Example:
        >>> report = profile("model.onnx", batch=(1, 8), min_time=0.01)
        >>> [found.batch for found in report.batches]
        [1, 8]
    """
    batch, counts = options.batch, thread_counts(threads, run)
    if not batch or any(size < 1 for size in batch):
        raise ValueError(f"batch must hold sizes of at least 1, not {list(batch)}")
    options, told = on_target(options, model)
    if (device := checked_device(options.device)) is not None:
        there: ProfileReport = device.profile(
            model, against=against, threads=counts, options=options, run=run
        )
        return there
    models = [model] if against is None else [model, against]
    if not all(is_runtime(one) or is_keras(one) for one in models):
        require_providers([options.provider])
    plan = _Plan(options.min_time, options.max_time, run.seed, run.tell)
    batches: list[BatchProfile] = []
    openings: list[_Opening] = []
    with ExitStack() as stack:
        # Tracing a Keras model takes longer than timing it, and its time does not vary by launch.
        held = [
            stack.enter_context(borrow(one)) if is_runtime(one) or is_keras(one) else one
            for one in models
        ]
        for count in counts:
            place = _Target(options.provider, count, options.allow_fallback)
            with _opened(held, place) as runtimes:
                names, placement = [one.name for one in runtimes], runtimes[0].placement
                workload = workload_of(runtimes, batch, options.data, run.seed)
            seconds, found = _launches(held, place, workload, plan)
            openings += found
            for size, launches in seconds.items():
                one = replace(_summary(size, launches), threads=count)
                if options.memory:
                    one = _with_memory(one, models, workload.feeds[size], place)
                batches.append(one)
    own, other = _opening_times(openings, models)
    table, notes = None, workload.notes
    if options.operators and options.provider not in WITH_OPERATORS:
        notes = (*notes, "single operators are timed on cpu and cuda only")
    elif options.operators and not is_keras(model) and not is_runtime(model):
        table = profile_operators(
            model,
            next(iter(workload.feeds.values())),
            provider=options.provider,
            threads=counts[0],
            allow_fallback=options.allow_fallback,
        )
    return ProfileReport(
        model=names[0],
        against=None if against is None else names[1],
        provider=options.provider,
        threads=counts[0] if len(counts) == 1 else None,
        size_bytes=_size(model),
        against_size_bytes=None if against is None else _size(against),
        batches=tuple(batches),
        notes=(*told, *notes, *plan.watch.notes),
        load_ms=own[0],
        first_run_ms=own[1],
        against_load_ms=other[0],
        against_first_run_ms=other[1],
        settings=_settings(counts),
        operators=table,
        load=plan.watch.worst,
        placement=placement,
    )


@dataclass(frozen=True)
class _Plan:
    """How long to measure, the seed for shuffling, and who sees what disturbs."""

    min_time: float
    max_time: float
    seed: int
    progress: Progress
    watch: LoadWatch = field(default_factory=LoadWatch)

    def is_unsure(self, launches: Sequence[Array]) -> bool:
        """Whether another launch is needed."""
        if len(launches) < _MIN_LAUNCHES:
            return True
        if sum(float(timed.sum()) for timed in launches) > self.max_time:
            return False
        if len(launches) < _LAUNCHES or self.watch.worst.is_busy:
            return True
        ratio = _ratio(launches)
        return ratio is not None and ratio.high > ratio.low * _WIDE


@dataclass(frozen=True)
class _Target:
    """Where to measure."""

    provider: str
    threads: int | None
    allow_fallback: bool


@dataclass(frozen=True)
class _Opening:
    """Seconds to load each model once and to run it for the first time."""

    load: tuple[float, ...]
    first: tuple[float, ...]


def _launches(
    models: Sequence[Any], target: _Target, workload: Workload, plan: _Plan
) -> tuple[dict[int, list[Array]], list[_Opening]]:
    """Seconds of every run by batch size and launch, and the opening times of each launch."""
    seconds: dict[int, list[Array]] = {size: [] for size in workload.feeds}
    openings = []
    order = list(range(len(models)))
    np.random.default_rng(plan.seed).shuffle(order)
    for launch in range(_MAX_LAUNCHES):
        pending = [size for size, timed in seconds.items() if plan.is_unsure(timed)]
        if not pending:
            break
        order.reverse()  # the model loaded first gets other memory than the second
        load: list[float] = [0.0] * len(models)
        with _opened(models, target, order, load) as runtimes:
            first: list[float] = []
            for size in pending:
                feed = workload.feeds[size]
                feeds = [renamed(feed, runtimes[0], one) for one in runtimes]
                if not first:
                    runs = [partial(one.run, own) for one, own in zip(runtimes, feeds, strict=True)]
                    first = _in_order(order, [partial(_seconds, run) for run in runs])
                prepare = [
                    partial(one.prepare, own) for one, own in zip(runtimes, feeds, strict=True)
                ]
                calls = _in_order(order, prepare)
                timed = interleave(
                    calls,
                    min_time=plan.min_time / _LAUNCHES,
                    max_time=plan.max_time / _LAUNCHES,
                    min_rounds=_MIN_ROUNDS,
                    seed=plan.seed + launch,
                )
                seconds[size].append(timed)
        openings.append(_Opening(tuple(load), tuple(first)))
        plan.watch.look()
        plan.progress("timing", launch + 1, max(launch + 1, _LAUNCHES))
    return seconds, openings


def _in_order(order: Sequence[int], calls: Sequence[Callable[[], T]]) -> list[T]:
    """The result of each call, made in this order, because the first call gets other memory."""
    found = {place: calls[place]() for place in order}
    return [found[place] for place in range(len(calls))]


def _seconds(call: Callable[[], object]) -> float:
    before = time.perf_counter()
    call()
    return time.perf_counter() - before


def _opening_times(
    openings: Sequence[_Opening], models: Sequence[Any]
) -> tuple[tuple[float | None, float | None], tuple[float | None, float | None]]:
    """Median time of loading and of the first run of each model, in milliseconds."""
    found: list[tuple[float | None, float | None]] = []
    for place in range(2):
        if place >= len(models) or is_runtime(models[place]) or is_keras(models[place]):
            found.append((None, None))
            continue
        load = statistics.median(one.load[place] for one in openings) * 1e3
        found.append((load, statistics.median(one.first[place] for one in openings) * 1e3))
    return found[0], found[1]


def _with_memory(
    one: BatchProfile, models: Sequence[Any], feed: dict[str, Array], target: _Target
) -> BatchProfile:
    """Peak memory of each model that is a file."""
    found = [
        peak_memory(model, feed, provider=target.provider, threads=target.threads)
        if isinstance(model, str | os.PathLike) and not is_keras(model)
        else None
        for model in models
    ]
    return replace(
        one,
        peak_memory_bytes=found[0],
        against_peak_memory_bytes=found[1] if len(found) > 1 else None,
    )


def _settings(threads: Sequence[int | None]) -> dict[str, Any]:
    """The conditions of the measurement: threads, available cores, spinning, timing overhead."""
    cores = own_cores()
    return {
        "threads": list(threads),
        "cores": os.cpu_count(),
        "affinity": None if cores is None else sorted(cores),
        "spinning": False,
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "overhead_us": overhead() * 1e6,
    }


@contextmanager
def _opened(
    models: Sequence[Any],
    target: _Target,
    order: Sequence[int] | None = None,
    load: list[float] | None = None,
) -> Iterator[list[Runtime]]:
    """The models as runtimes, loaded in this order; fills ``load`` with the seconds for each."""
    # Threads that keep spinning after a run would take cores away from the other model's run.
    config = {"session.force_spinning_stop": "1"}
    opened = {}
    with ExitStack() as stack:
        for place in order or range(len(models)):
            before = time.perf_counter()
            opened[place] = stack.enter_context(
                borrow(
                    models[place],
                    target.provider,
                    threads=target.threads,
                    config=config,
                    allow_fallback=target.allow_fallback,
                )
            )
            if load is not None:
                load[place] = time.perf_counter() - before
        yield [opened[place] for place in range(len(models))]


def _ratio(launches: Sequence[Array]) -> Interval | None:
    if len(launches[0]) == 1:
        return None
    return ratio_of_medians([(against, model) for model, against in launches])


def _summary(size: int, launches: Sequence[Array]) -> BatchProfile:
    seconds = np.concatenate(launches, axis=1)
    ratio = _ratio(launches)
    return BatchProfile(
        batch=size,
        model=_latency(seconds[0], size),
        against=_latency(seconds[1], size) if ratio else None,
        ratio=ratio.value if ratio else None,
        ratio_low=ratio.low if ratio else None,
        ratio_high=ratio.high if ratio else None,
    )


def _latency(seconds: Array, batch: int) -> Latency:
    p50, p90, p99 = (float(value) for value in np.percentile(seconds * 1e3, [50, 90, 99]))
    return Latency(len(seconds), p50, p90, p99, throughput=batch / p50 * 1e3)


def _size(model: Any) -> int | None:
    if isinstance(model, str | os.PathLike):
        return Path(model).stat().st_size if is_keras(model) else file_bytes(model)
    return model_bytes(model) if isinstance(model, ir.Model) else None
