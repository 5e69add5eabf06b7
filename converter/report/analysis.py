"""The report's analysis: where the error arises and where the time goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from converter.report.answers import Answers, compare_answers
from converter.report.weights_by_layer import LayerWeights, weights_by_layer
from runtimes.base import Array
from runtimes.data.dataset import Dataset
from runtimes.defects import Defect, contain
from runtimes.engines.batching import fixed_batch, run_padded
from runtimes.engines.open_runtime import borrow, open_runtime
from runtimes.engines.ort import NO_SPINNING
from runtimes.engines.provider_names import WITH_OPERATORS
from runtimes.engines.runtime import Runtime
from runtimes.engines.timed_feeds import timed_feeds
from runtimes.errors import KilnxError, RuntimeUnavailable
from runtimes.json_values import plain
from runtimes.parity.layers.compare_layers import compare_layers
from runtimes.parity.layers.report import LayersReport
from runtimes.profiling.operators import OperatorsReport, profile_operators
from runtimes.profiling.roofline import measure_roof

T = TypeVar("T")

_LAYER_SAMPLES = 4
_ERROR_SAMPLES = 256
_BINS = 40
_RUNS = 10


@dataclass(frozen=True)
class ErrorHistogram:
    """The distribution of one output's element errors: ``counts`` between ``edges``."""

    output: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Insight:
    """Layers and errors of the result, and the operators of fp32 and the result; None: not known.

    ``answers`` of a classifier; ``weights_before`` and ``weights_after`` by layer.
    ``layers`` are compared with ``layers_of``: fp32, or the pruned model, which has the same
    channels as the result. ``notes`` say what could not be determined, ``defects`` what failed by
    a fault of kilnx.
    """

    layers: LayersReport | None = None
    layers_of: str = "fp32"
    errors: tuple[ErrorHistogram, ...] = ()
    before: OperatorsReport | None = None
    after: OperatorsReport | None = None
    notes: tuple[str, ...] = field(default=())
    defects: tuple[Defect, ...] = field(default=())
    answers: Answers | None = None
    weights_before: tuple[LayerWeights, ...] = ()
    weights_after: tuple[LayerWeights, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        document: dict[str, Any] = plain(self)
        del document["defects"]  # the report lists them with its others
        for one in (document["answers"] or {}).get("shown", ()):
            del one["shown"]  # pictures are for people
        return document


def analyze(
    fp32: Path,
    result: Path,
    evaluation: Dataset,
    *,
    pruned: Path | None = None,
    whole: Runtime | None = None,
    provider: str,
    threads: int,
) -> Insight:
    """Compare the two files on a few samples of ``evaluation`` and profile their operators.

    ``pruned`` is the pruned model, if pruning removed channels: the result's layers are then
    compared with its layers and not with those of fp32. ``whole``: the fp32 model that is open and
    remembers what it gave. Takes seconds: 4 samples layer by layer,
    256 for the errors, 10 runs under the profiler. What cannot be determined becomes a note and
    never makes the run fail.
    """
    found = _Findings()
    same = fp32 == result
    tables = found.part(
        "the profile of the operators",
        lambda: _operators((fp32, result), evaluation, provider, threads),
    )
    before, after = tables or (None, None)
    layers: LayersReport | None = None
    errors: tuple[ErrorHistogram, ...] | None = None
    if not same:
        errors = found.part(
            "the histogram of errors",
            lambda: _errors(whole or fp32, result, evaluation, provider, threads),
        )
        if pruned == result:
            found.notes.append("layers were not compared: pruning gave them other channels")
        else:
            layers = found.part(
                "the comparison of layers",
                lambda: compare_layers(
                    pruned or fp32,
                    result,
                    evaluation,
                    provider=provider,
                    samples=_LAYER_SAMPLES,
                    threads=threads,
                ),
            )
    answers = found.part(
        "the comparison of answers",
        lambda: compare_answers(whole or fp32, result, evaluation, provider, threads),
    )
    weights = found.part(
        "the size of layers", lambda: (weights_by_layer(fp32), weights_by_layer(result))
    )
    layers_of = "fp32" if pruned is None else "the pruned model"
    return Insight(
        layers,
        layers_of,
        errors or (),
        before,
        None if same else after,
        tuple(found.notes),
        tuple(found.defects),
        answers,
        *(weights or ((), ())),
    )


@dataclass(frozen=True)
class _Findings:
    """What could not be found out, and what failed."""

    notes: list[str] = field(default_factory=list)
    defects: list[Defect] = field(default_factory=list)

    def part(self, name: str, action: Callable[[], T]) -> T | None:
        """What ``action`` finds; None, and a note, where it finds nothing."""
        found = contain(name, lambda: _or_reason(name, action))
        if isinstance(found, Defect):
            self.notes.append(str(found))
            self.defects.append(found)
            return None
        value, reason = found
        self.notes.extend([reason] if reason else [])
        return value


def _or_reason(name: str, action: Callable[[], T]) -> tuple[T | None, str | None]:
    try:
        return action(), None
    except KilnxError as error:
        return None, f"{name} is missing: {error}"


def _operators(
    paths: tuple[Path, Path], evaluation: Dataset, provider: str, threads: int
) -> tuple[OperatorsReport, OperatorsReport]:
    if provider not in WITH_OPERATORS:
        raise RuntimeUnavailable("single operators are timed on cpu and cuda only")
    roof = measure_roof(threads)
    with open_runtime(paths[0], threads=threads) as runtime:
        inputs = runtime.inputs
    (feed,) = timed_feeds(evaluation, inputs)
    before, after = (
        profile_operators(path, feed, provider=provider, threads=threads, runs=_RUNS, roof=roof)
        for path in paths
    )
    return before, after


def _errors(
    fp32: Path | Runtime, result: Path, evaluation: Dataset, provider: str, threads: int
) -> tuple[ErrorHistogram, ...]:
    found: dict[str, list[Array]] = {}
    with (
        borrow(fp32, "cpu", threads=threads, config=NO_SPINNING) as one,
        open_runtime(result, provider, threads=threads, config=NO_SPINNING) as other,
    ):
        size = fixed_batch(one.inputs) or 32
        for batch in evaluation.take(_ERROR_SAMPLES).batches(size):
            expected, actual = run_padded(one, batch.feed), run_padded(other, batch.feed)
            for name, values in expected.items():
                if values.dtype.kind == "f" and actual[name].shape == values.shape:
                    apart = actual[name].astype(np.float64) - values
                    found.setdefault(name, []).append(apart.ravel())
    return tuple(_histogram(name, parts) for name, parts in found.items())


def _histogram(output: str, parts: Sequence[Array]) -> ErrorHistogram:
    errors = np.concatenate(parts)
    errors = errors[np.isfinite(errors)]
    reach = float(np.abs(errors).max(initial=0.0)) or 1e-12
    counts, edges = np.histogram(errors, bins=_BINS, range=(-reach, reach))
    return ErrorHistogram(output, tuple(map(float, edges)), tuple(map(int, counts)))
