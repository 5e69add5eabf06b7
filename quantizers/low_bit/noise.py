"""How much noise weights of fewer bits put on a model's outputs, one weight at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx_ir as ir

from quantizers.calibration.statistics import spread
from quantizers.options import QuantizeOptions
from runtimes.base import Array
from runtimes.data.dataset import Dataset
from runtimes.engines.batching import fixed_batch, run_padded
from runtimes.engines.ort import OrtRuntime
from runtimes.onnx_files.load_save import model_inputs, weight_bytes

_SAMPLES = 32
_SAMPLES_OF_LARGE = 8
_LARGE = 40 * 2**20


def with_weights(model: ir.Model, weights: Mapping[str, Array]) -> ir.Model:
    """A copy of ``model`` (all other weights shared) with other values for some initializers."""
    copy = model.clone()
    for name, array in weights.items():
        copy.graph.initializers[name].const_value = ir.tensor(array, name=name)
    return copy


class Noise:
    """The noise on the float outputs of ``model``, next to what it gives on some of ``data``."""

    def __init__(self, model: ir.Model, data: Dataset, options: QuantizeOptions) -> None:
        self._model, self._threads = model, options.threads
        large = weight_bytes(model) > _LARGE
        self._data = spread(
            data.bind(model_inputs(model)).without_labels(),
            _SAMPLES_OF_LARGE if large else _SAMPLES,
        )
        self._batch = fixed_batch(model_inputs(model)) or options.batch_size
        self._expected = list(self._run({}))

    def of(self, weights: Mapping[str, Array]) -> float:
        """Noise power over signal power with these ``weights``, of the output that is worst."""
        signal: dict[str, float] = {}
        noise: dict[str, float] = {}
        for expected, found in zip(self._expected, self._run(weights), strict=True):
            for name, values in expected.items():
                counts = np.isfinite(values)
                exact, now = (one[counts].astype(np.float64) for one in (values, found[name]))
                if not np.isfinite(now).all():
                    return float("inf")
                signal[name] = signal.get(name, 0.0) + float(np.square(exact).sum())
                noise[name] = noise.get(name, 0.0) + float(np.square(now - exact).sum())
        shares = [noise[name] / total for name, total in signal.items() if total > 0]
        return max(shares, default=0.0)

    def _run(self, weights: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
        with OrtRuntime(with_weights(self._model, weights), threads=self._threads) as runtime:
            for batch in self._data.batches(self._batch):
                outputs = run_padded(runtime, batch.feed)
                yield {
                    name: values
                    for name, values in outputs.items()
                    if np.issubdtype(values.dtype, np.floating)
                }
