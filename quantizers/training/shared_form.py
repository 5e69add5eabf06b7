"""Weights that share a few values: assignments stay, and the values are trained.

Deep Compression (Han, Mao and Dally, https://arxiv.org/abs/1510.00149), section 3: k-means chooses
the values of each weight, and the gradient by a value is the sum over all places that hold it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx_ir as ir

from quantizers.low_bit.clusters import cluster, nearest_index
from quantizers.low_bit.packing import signed
from quantizers.low_bit.store import MIN_OPSET, store_weight
from quantizers.low_bit.weight import LowBitWeight
from quantizers.training.form import Read, Start
from quantizers.training.parameters import Parameter, parameters_of
from quantizers.training.write import with_values
from runtimes.base import Array
from runtimes.onnx_graph.values import opset

MOST_CLUSTERS = 256
"""So that an assignment is a byte."""

_CODEBOOK, _ASSIGNMENTS = "{} (codebook)", "{} (assignments)"
# Smaller weights, biases among them, would not get smaller by a codebook.
_LEAST_PER_CLUSTER = 4


@dataclass(frozen=True)
class SharedForm:
    """The graph ``model`` whose weights hold ``clusters`` values each."""

    model: ir.Model
    clusters: int

    @cached_property
    def _parameters(self) -> dict[str, Parameter]:
        return parameters_of(self.model)

    @cached_property
    def shared(self) -> frozenset[str]:
        """The weights that get a codebook."""
        return frozenset(
            name
            for name, parameter in self._parameters.items()
            if _is_large(parameter, self.clusters)
        )

    def starts(self) -> dict[str, Start]:
        """A codebook and the assignments of each weight that shares; the others as they are."""
        found = {}
        for name, parameter in self._parameters.items():
            floats = parameter.initial("float32")
            if name not in self.shared:
                found[name] = Start(floats)
                continue
            codebook = cluster(floats, self.clusters).astype(np.float32)
            found[_CODEBOOK.format(name)] = Start(codebook)
            places = nearest_index(floats, codebook).astype(np.uint8)
            found[_ASSIGNMENTS.format(name)] = Start(places, trainable=False)
        return found

    def read(self, variables: Mapping[str, Any]) -> Read:
        """Every weight by its codebook."""
        import tensorflow as tf

        values = {}
        for name in self._parameters:
            if name not in self.shared:
                values[name] = variables[name]
                continue
            places = tf.cast(variables[_ASSIGNMENTS.format(name)], tf.int32)
            # Behind a product the gradient is dense: optimizers of Keras sum no sparse ones.
            codebook = variables[_CODEBOOK.format(name)] * 1.0
            values[name] = tf.gather(codebook, places)
        return Read(values, {})

    def written(self, arrays: Mapping[str, Array]) -> ir.Model:
        """The weights with as many different values as the codebook has."""
        found = {
            name: arrays[_CODEBOOK.format(name)][arrays[_ASSIGNMENTS.format(name)]]
            if name in self.shared
            else arrays[name]
            for name in self._parameters
        }
        return with_values(self.model, found)

    def stored(self, arrays: Mapping[str, Array]) -> ir.Model:
        """Each float weight as its codebook, and 2, 4 or 8 bits for each of its places."""
        model = self.written(arrays)
        if opset(model) < MIN_OPSET:
            return model
        for name in sorted(self.shared):
            if self._parameters[name].scale is not None:
                continue  # codes of INT8 weights are bytes already
            value = model.graph.initializers[name]
            codebook = arrays[_CODEBOOK.format(name)]
            places = arrays[_ASSIGNMENTS.format(name)]
            store_weight(model.graph, value, _in_bits(codebook, places))
        return model


def _in_bits(codebook: Array, places: Array) -> LowBitWeight:
    """As few bits as hold the places; the codebook is filled up with values that none has."""
    bits = next(bits for bits in (2, 4, 8) if len(codebook) <= 1 << bits)
    whole = np.zeros(1 << bits, np.float32)
    whole[: len(codebook)] = codebook
    return LowBitWeight(signed(places, bits), bits, whole, None, places.shape)


def _is_large(parameter: Parameter, clusters: int) -> bool:
    tensor = parameter.value.const_value
    return tensor is not None and (
        len(tensor.shape) > 1 and tensor.size >= _LEAST_PER_CLUSTER * clusters
    )
