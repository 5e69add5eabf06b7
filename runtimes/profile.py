"""How fast is a model here, and how much faster than another one?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from runtimes.base import Array, Runtime
from runtimes.dataset import Dataset
from runtimes.errors import ModelError
from runtimes.feed import fixed_batch
from runtimes.inputs import made_up_inputs, sampled_inputs
from runtimes.modelfile import file_bytes, model_bytes
from runtimes.open import borrow, is_keras, is_runtime
from runtimes.reporting import plain
from runtimes.timing import Interval, interleave, ratio_of_medians

_LAUNCHES = 5
_MIN_LAUNCHES = 2
_MAX_LAUNCHES = 11
_WIDE = 1.1  # an interval whose ends differ more than this gets further launches
_MIN_ROUNDS = 2  # a launch; ten in all


@dataclass(frozen=True)
class Latency:
    """Latency of one run, milliseconds, over ``runs`` runs; ``throughput`` in samples a second."""

    runs: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    throughput: float


@dataclass(frozen=True)
class BatchProfile:
    """One batch size.

    ``ratio`` is the speed-up over the other model: its median latency over this model's, the mean
    of several launches, with the 95% interval ``ratio_low`` … ``ratio_high``.
    """

    batch: int
    model: Latency
    against: Latency | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None


@dataclass(frozen=True)
class ProfileReport:
    """Latency and size of a model, and of the one it was measured against.

    Sizes are those of the files, external data included, in bytes; None for a live Keras model.
    """

    model: str
    against: str | None
    provider: str
    threads: int | None
    size_bytes: int | None
    against_size_bytes: int | None
    batches: tuple[BatchProfile, ...]
    notes: tuple[str, ...]

    def faster(self, margin: float = 0.0) -> bool:
        """Whether the model is surely faster, at every batch size, by more than ``margin``.

        Surely: the lower end of the interval of the speed-up lies above 1 + margin.
        """
        self._require_against()
        return all(b.ratio_low is not None and b.ratio_low > 1 + margin for b in self.batches)

    def slower(self, margin: float = 0.0) -> bool:
        """Whether the model is surely slower, at some batch size, by more than ``margin``.

        Surely: the upper end of the interval of the speed-up lies below 1 / (1 + margin).
        """
        self._require_against()
        return any(
            b.ratio_high is not None and b.ratio_high < 1 / (1 + margin) for b in self.batches
        )

    def to_dict(self) -> dict[str, Any]:
        """The report in plain JSON types."""
        document: dict[str, Any] = plain(self)
        return document

    def rows(self) -> list[dict[str, str]]:
        """One row of formatted cells a batch size and model, for a table."""
        rows = []
        for batch in self.batches:
            timed = [(self.model, self.size_bytes, batch.model, batch.ratio)]
            if batch.against is not None and self.against is not None:
                timed.append((self.against, self.against_size_bytes, batch.against, None))
            for name, size, latency, ratio in timed:
                speed_up = "–"
                if ratio is not None:
                    speed_up = f"{ratio:.2f}× ({batch.ratio_low:.2f}…{batch.ratio_high:.2f})"
                rows.append(
                    {
                        "model": name,
                        "batch": str(batch.batch),
                        "p50": f"{latency.p50_ms:.3f} ms",
                        "p90": f"{latency.p90_ms:.3f} ms",
                        "p99": f"{latency.p99_ms:.3f} ms",
                        "throughput": f"{latency.throughput:.0f}/s",
                        "size": "–" if size is None else f"{size / 1e6:.2f} MB",
                        "speed-up": speed_up,
                    }
                )
        return rows

    def _require_against(self) -> None:
        if self.against is None:
            raise ValueError("the model was not measured against another one")


def profile(
    model: Any,
    *,
    against: Any = None,
    provider: str = "cpu",
    batch: Sequence[int] = (1,),
    threads: int | None = None,
    data: Any = None,
    min_time: float = 1.0,
    max_time: float = 10.0,
    seed: int = 0,
    progress: Callable[[int, int | None], None] | None = None,
) -> ProfileReport:
    """Time a model, interleaved with ``against`` where given.

    Both are loaded anew for each of five launches, warmed up, and run in pairs whose order is
    drawn at random, so that drift of the machine's speed hits both alike; see
    ``runtimes.timing`` for why. Up to eleven launches are made where the interval of the ratio
    stays wider than 10%. Each batch size is timed for ``min_time`` seconds, for slow models
    or on a busy machine up to ``max_time``, or as long as two launches of two runs take.
    Inputs are the first samples of ``data`` (what ``Dataset.open`` takes), else random numbers
    of ``seed``; dynamic dimensions other than the batch need ``data`` or are set to 1, noted.
    A model whose batch is fixed is timed at that size alone, noted. Keras models and runtimes
    that are open already are not loaded anew.
    ``progress`` is called with the number of launches done and of all.
    Raises ``ModelError`` where the two take other inputs.
    """
    if not batch or any(size < 1 for size in batch):
        raise ValueError(f"batch must hold sizes of at least 1, not {list(batch)}")
    models = [model] if against is None else [model, against]
    with ExitStack() as stack:
        # Tracing a Keras model takes longer than timing it, and is not what varies.
        models = [
            stack.enter_context(borrow(one)) if is_runtime(one) or is_keras(one) else one
            for one in models
        ]
        with _opened(models, provider, threads) as runtimes:
            names = [runtime.name for runtime in runtimes]
            workload = _workload(runtimes, batch, data, seed)
        seconds: dict[int, list[Array]] = {size: [] for size in workload.feeds}
        order = list(range(len(models)))
        shuffle = np.random.default_rng(seed).shuffle
        for launch in range(_MAX_LAUNCHES):
            pending = [size for size, timed in seconds.items() if _unsure(timed, max_time)]
            if not pending:
                break
            shuffle(order)  # what is loaded first lies elsewhere in memory
            with _opened(models, provider, threads, order) as runtimes:
                for size in pending:
                    feed = workload.feeds[size]
                    calls = [one.prepare(_renamed(feed, runtimes[0], one)) for one in runtimes]
                    timed = interleave(
                        calls,
                        min_time=min_time / _LAUNCHES,
                        max_time=max_time / _LAUNCHES,
                        min_rounds=_MIN_ROUNDS,
                        seed=seed + launch,
                    )
                    seconds[size].append(timed)
            if progress:
                progress(launch + 1, max(launch + 1, _LAUNCHES))
    return ProfileReport(
        model=names[0],
        against=None if against is None else names[1],
        provider=provider,
        threads=threads,
        size_bytes=_size(model),
        against_size_bytes=None if against is None else _size(against),
        batches=tuple(_summary(size, launches) for size, launches in seconds.items()),
        notes=workload.notes,
    )


@dataclass(frozen=True)
class _Workload:
    """What is run: a feed for each batch size."""

    feeds: dict[int, dict[str, Array]]
    notes: tuple[str, ...]


def _workload(runtimes: Sequence[Runtime], batch: Sequence[int], data: Any, seed: int) -> _Workload:
    inputs = runtimes[0].inputs
    samples = None if data is None else Dataset.open(data, inputs=inputs)
    notes = list(samples.notes) if samples else []
    feeds = {}
    for size in _sizes(runtimes, batch, notes):
        if samples is None:
            made = made_up_inputs(inputs, size, seed)
        else:
            made = sampled_inputs(samples, inputs, size)
        notes += [note for note in made.notes if note not in notes]
        feeds[size] = made.feed
    if samples is None and any(spec.dtype.kind in "iu" for spec in inputs):
        notes.append("integer inputs were 0 and 1; give data for values that you use")
    return _Workload(feeds, tuple(notes))


@contextmanager
def _opened(
    models: Sequence[Any], provider: str, threads: int | None, order: Sequence[int] | None = None
) -> Iterator[list[Runtime]]:
    """The models as runtimes, loaded in that order."""
    # Threads that spin after a run would take the cores from the other model's run.
    config = {"session.force_spinning_stop": "1"}
    with ExitStack() as stack:
        opened = {
            place: stack.enter_context(
                borrow(models[place], provider, threads=threads, config=config)
            )
            for place in order or range(len(models))
        }
        yield [opened[place] for place in range(len(models))]


def _unsure(launches: Sequence[Array], max_time: float) -> bool:
    """Whether a further launch is wanted."""
    if len(launches) < _MIN_LAUNCHES:
        return True
    if sum(float(timed.sum()) for timed in launches) > max_time:
        return False
    if len(launches) < _LAUNCHES:
        return True
    ratio = _ratio(launches)
    return ratio is not None and ratio.high > ratio.low * _WIDE


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


def _renamed(feed: dict[str, Array], first: Runtime, other: Runtime) -> dict[str, Array]:
    """The same arrays under the other model's names, by name or by place."""
    wanted = [spec.name for spec in other.inputs]
    if set(wanted) == set(feed):
        return feed
    if len(wanted) != len(feed):
        raise ModelError(
            f"{first.name} takes {len(feed)} inputs and {other.name} takes {len(wanted)}; "
            "only models of the same inputs can be timed against each other"
        )
    return {name: feed[spec.name] for name, spec in zip(wanted, first.inputs, strict=True)}


def _sizes(runtimes: Sequence[Runtime], batch: Sequence[int], notes: list[str]) -> list[int]:
    fixed = {
        size: runtime.name
        for runtime in runtimes
        if (size := fixed_batch(runtime.inputs, runtime.name)) is not None
    }
    if len(fixed) > 1:
        raise ModelError(
            "the models fix different batch sizes: "
            + ", ".join(f"{name} {size}" for size, name in sorted(fixed.items()))
        )
    if not fixed:
        return list(dict.fromkeys(batch))
    size, name = fixed.popitem()
    if list(batch) != [size]:
        notes.append(f"{name} has a fixed batch of {size}: timed at that size")
    return [size]


def _size(model: Any) -> int | None:
    if isinstance(model, str | os.PathLike):
        return Path(model).stat().st_size if is_keras(model) else file_bytes(model)
    return model_bytes(model) if isinstance(model, ir.Model) else None
