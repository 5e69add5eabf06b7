"""The noise of operators, measured by workers: each operator is a task of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import onnx_ir as ir

from quantizers.calibration.kept_samples import SCORE_SEED, KeptSource, Samples
from quantizers.calibration.observers import Range
from quantizers.calibration.statistics import Statistics, spread
from quantizers.mixed_precision.candidate import CalibratedModel, FloatModel
from quantizers.mixed_precision.sensitivity import measure_sensitivities, samples_for
from quantizers.options import QuantizeOptions
from quantizers.weights.codes import Memory
from runtimes.base import Array
from runtimes.data.dataset import Dataset
from runtimes.distributed.map_shards import count_workers, map_shards
from runtimes.engines.ort import NO_SPINNING
from runtimes.engines.remembering import RememberingRuntime
from runtimes.onnx_files.load_save import model_inputs
from runtimes.onnx_files.sent_bytes import bytes_to_send, model_sent
from runtimes.progress import Progress

# Smaller pieces than one a worker: the slowest one holds up less, and less is repeated.
_PIECES_A_WORKER = 4
_ADVICE = "quantize without workers"


def shared_sensitivities(
    floats: FloatModel,
    basis: CalibratedModel,
    names: Sequence[str],
    data: Dataset,
    options: QuantizeOptions,
    *,
    progress: Progress,
) -> dict[str, float]:
    """``measure_sensitivities`` by as many workers as ``options`` ask for; the same numbers.

    Raises ``ModelError`` where a model is too large to be sent, and what ``map_shards`` raises.
    """
    where: Any = {"workers": options.workers, "cluster": options.cluster}
    if options.workers == 1 and options.cluster is None:
        return measure_sensitivities(
            floats.reference, basis, names, data, options, progress=progress
        )
    count = max(1, min(len(names), _PIECES_A_WORKER * count_workers(**where)))
    # Neighbours are alike: dealt out in turn, the pieces take equally long.
    pieces = [tuple(names[place::count]) for place in range(count)]
    found: dict[str, float] = {}
    done = 0
    with map_shards(_Task.of(floats.source, basis, data, options), pieces, **where) as results:
        for piece, raw in results:
            done += len(piece)
            progress("measuring the noise of operators", done, len(names))
            found.update({name: float.fromhex(text) for name, text in json.loads(raw).items()})
    return {name: found[name] for name in names if name in found}


@dataclass(frozen=True)
class _Task:
    """Measures some operators; what is known of the model travels as it is."""

    reference: bytes = field(repr=False)
    source: bytes = field(repr=False)
    statistics: Statistics
    ranges: Mapping[str, Range]
    covariances: Mapping[str, Array]
    rounded: Memory
    samples: Samples
    options: QuantizeOptions

    @classmethod
    def of(
        cls,
        reference: ir.Model,
        basis: CalibratedModel,
        data: Dataset,
        options: QuantizeOptions,
    ) -> _Task:
        """The task of the operators of ``basis``; ``data`` are read here."""
        return cls(
            bytes_to_send(reference, _ADVICE),
            bytes_to_send(basis.source, _ADVICE),
            basis.statistics,
            dict(basis.ranges),
            dict(basis.covariances),
            dict(basis.rounded),
            _samples(spread(data, samples_for(basis.source), SCORE_SEED)),
            replace(options, costs=None, workers=1, cluster=None),
        )

    def __call__(self, names: tuple[str, ...]) -> bytes:
        """Decibels by name, as JSON of their exact values."""
        reference, basis, data = self._opened
        found = measure_sensitivities(reference, basis, names, data, self.options)
        return json.dumps({name: decibels.hex() for name, decibels in found.items()}).encode()

    @cached_property
    def _opened(self) -> tuple[RememberingRuntime, CalibratedModel, Dataset]:
        """Opened once, for all operators that this process measures."""
        source = model_sent(self.reference)
        reference = RememberingRuntime(source, threads=self.options.threads, config=NO_SPINNING)
        basis = CalibratedModel(
            model_sent(self.source),
            self.statistics,
            self.ranges,
            covariances=self.covariances,
            rounded=self.rounded,
        )
        kept = KeptSource("the samples", len(self.samples), self.samples)
        return reference, basis, Dataset(kept).bind(model_inputs(source))


def _samples(data: Dataset) -> dict[int, dict[str, Array]]:
    """The samples one by one, in their order."""
    found = {
        int(index): {name: values[row, ...] for name, values in batch.feed.items()}
        for batch in data.without_labels().batches(1)
        for row, index in enumerate(batch.indices)
    }
    return dict(enumerate(found[index] for index in sorted(found)))
