"""How fast is a model here, and how much faster than another one?"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
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
from runtimes.open import borrow, is_keras
from runtimes.reporting import plain
from runtimes.timing import interleave, median_ratio


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

    ``ratio`` is the speed-up over the other model: its median latency over this model's, with
    the 95% bootstrap interval ``ratio_low`` … ``ratio_high``.
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

    Both are warmed up, then run in pairs whose order is drawn at random, so that drift of the
    machine's speed hits both alike. Each batch size takes ``min_time`` to ``max_time`` seconds.
    Inputs are the first samples of ``data`` (what ``Dataset.open`` takes), else random numbers
    of ``seed``; dynamic dimensions other than the batch need ``data`` or are set to 1, noted.
    A model whose batch is fixed is timed at that size alone, noted.
    ``progress`` is called with the number of batch sizes done and of all.
    Raises ``ModelError`` where the two take other inputs.
    """
    if not batch or any(size < 1 for size in batch):
        raise ValueError(f"batch must hold sizes of at least 1, not {list(batch)}")
    # Threads that spin after a run would take the cores from the other model's run.
    config = {"session.force_spinning_stop": "1"}
    notes: list[str] = []
    with ExitStack() as stack:
        runtimes = [
            stack.enter_context(borrow(one, provider, threads=threads, config=config))
            for one in (model, against)
            if one is not None
        ]
        first = runtimes[0]
        samples = None if data is None else Dataset.open(data, inputs=first.inputs)
        sizes = _sizes(runtimes, batch, notes)
        profiles = []
        for done, size in enumerate(sizes, 1):
            if samples is None:
                inputs = made_up_inputs(first.inputs, size, seed)
            else:
                inputs = sampled_inputs(samples, first.inputs, size)
            notes += [note for note in inputs.notes if note not in notes]
            calls = [one.prepare(_renamed(inputs.feed, first, one)) for one in runtimes]
            seconds = interleave(calls, min_time=min_time, max_time=max_time, seed=seed)
            profiles.append(_summary(seconds, size, seed))
            if progress:
                progress(done, len(sizes))
        if samples is None and any(spec.dtype.kind in "iu" for spec in first.inputs):
            notes.append("integer inputs were 0 and 1; give data for values that you use")
        return ProfileReport(
            model=first.name,
            against=None if against is None else runtimes[1].name,
            provider=provider,
            threads=threads,
            size_bytes=_size(model),
            against_size_bytes=None if against is None else _size(against),
            batches=tuple(profiles),
            notes=(*(samples.notes if samples else ()), *notes),
        )


def _summary(seconds: Array, size: int, seed: int) -> BatchProfile:
    paired = len(seconds) > 1
    ratio = median_ratio(seconds[1], seconds[0], seed=seed) if paired else None
    return BatchProfile(
        batch=size,
        model=_latency(seconds[0], size),
        against=_latency(seconds[1], size) if paired else None,
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
