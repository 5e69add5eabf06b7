"""Quantized weights that train: codes of so many levels, by scales that are fixed or learned.

A learned scale is trained as its logarithm, so it is positive by construction, and a step is a
share of it. Its gradient is that of LSQ (Esser et al., https://arxiv.org/abs/1902.08153): it
follows from rounding with straight-through gradients between a division and a product by it. The
scale of a bias is no variable: it is the product of those of the input and of the weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx_ir as ir

from quantizers.training.form import Read, Start
from quantizers.training.operators.quantization import codes_of
from quantizers.training.parameters import Parameter, parameters_of
from quantizers.training.scales import Scales, find_scales
from quantizers.training.write import with_values
from quantizers.weights.int8 import BIAS_LEVELS
from runtimes.base import Array

_LOGARITHM = "{} (logarithm)"


@dataclass(frozen=True)
class QuantizedForm:
    """The graph ``model`` with Q/DQ pairs.

    ``levels``: the largest code of weights, by name; ``learn_scales``: whether scales are trained.
    """

    model: ir.Model
    levels: Mapping[str, float]
    learn_scales: bool = False

    @cached_property
    def _parameters(self) -> dict[str, Parameter]:
        return parameters_of(self.model)

    @cached_property
    def _scales(self) -> Scales:
        return find_scales(self.model) if self.learn_scales else Scales({}, {}, {})

    def starts(self) -> dict[str, Start]:
        """The floats that codes stand for, and the logarithms of scales that are learned."""
        found = {name: Start(one.initial("float32")) for name, one in self._parameters.items()}
        for name, scale in self._scales.learned.items():
            found[_LOGARITHM.format(name)] = Start(np.log(scale.astype(np.float32)))
        return found

    def read(self, variables: Mapping[str, Any]) -> Read:
        """Floats within their levels; where scales are learned, codes by the scales of now."""
        import tensorflow as tf

        scales = {name: tf.exp(variables[_LOGARITHM.format(name)]) for name in self._scales.learned}
        for name, (data, weight) in self._scales.products.items():
            scales[name] = tf.stop_gradient(scales[data] * scales[weight])
        values = {}
        given = dict(scales)
        for name, parameter in self._parameters.items():
            if name in self._scales.codes:
                scale = self._scales.codes[name].spread(scales[self._scales.codes[name].scale])
                limit = self.levels.get(name, BIAS_LEVELS)
                given[name] = codes_of(variables[name], scale, 0.0, -limit, limit)
            else:
                values[name] = self._limited(parameter, variables[name])
        return Read(values, given)

    def written(self, arrays: Mapping[str, Array]) -> ir.Model:
        """The codes by the scales of now, which are written first."""
        scaled = self.model.clone()
        scales: dict[str, Array] = {
            name: np.exp(arrays[_LOGARITHM.format(name)]) for name in self._scales.learned
        }
        for name, (data, weight) in self._scales.products.items():
            scales[name] = np.asarray(scales[data] * scales[weight])
        for name, scale in scales.items():
            scaled.graph.initializers[name].const_value = ir.tensor(
                scale.astype(np.float32), name=name
            )
        found = {}
        for name, parameter in parameters_of(scaled).items():
            limit = self._limit(parameter)
            found[name] = arrays[name] if limit is None else np.clip(arrays[name], -limit, limit)
        return with_values(scaled, found)

    def _limited(self, parameter: Parameter, floats: Any) -> Any:
        import tensorflow as tf

        limit = self._limit(parameter)
        return floats if limit is None else tf.clip_by_value(floats, -limit, limit)

    def _limit(self, parameter: Parameter) -> Array | None:
        """The largest float of a weight, in a shape that broadcasts to it."""
        levels = self.levels.get(parameter.name)
        if levels is None or parameter.scale is None:
            return None
        return np.asarray(parameter.scale * levels, np.float32)

    def stored(self, arrays: Mapping[str, Array]) -> ir.Model:
        """The same."""
        return self.written(arrays)
