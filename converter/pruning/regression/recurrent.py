"""LSTM, GRU and RNN: two linear maps into the gates, of the sequence and of the state.

The gates are functions of W·x and R·h, so each map is refitted to what the reference makes of
its own x and h; the state before each step is taken from the reference (teacher forcing).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from converter.pruning.operators.channels import IntArray
from converter.pruning.regression.base import LinearLayer, is_own_weight, name_of, overwrite, read
from converter.pruning.regression.normal_equations import Float64
from runtimes.base import Array

_BIAS = 3


class _GateMap:
    """``weight [directions, gates·units, columns]``, bias one half of ``B``."""

    result: str | None = None
    fan = 1
    result_axis = -1
    columns_axis = 2
    outputs_axis = 1

    def __init__(self, node: ir.Node, weight: int) -> None:
        self.node = node
        self.weight = weight
        self.from_reference = weight == 2
        self.source = name_of(node.outputs[0] if self.from_reference else node.inputs[0])
        self.takes_bias = len(node.inputs) > _BIAS and node.inputs[_BIAS] is not None

    def count_rows(self, data: Array) -> int:
        directions = data.shape[1] if self.from_reference else 1
        return int(data.size // max(1, data.shape[-1] * directions))

    def rows(self, data: Array, chosen: IntArray) -> Array:
        if self.from_reference:  # [steps, directions, samples, units]
            by_direction = np.moveaxis(data, 1, 0)
            return by_direction.reshape(len(by_direction), -1, data.shape[-1])[:, chosen]
        rows = data.reshape(-1, data.shape[-1])[chosen]
        return np.broadcast_to(rows, (len(self.weights()), *rows.shape))

    def targets(self, result: Array, chosen: IntArray) -> Array:
        raise NotImplementedError("no value of the graph holds the gates")

    def weights(self) -> Float64:
        return read(self.node.inputs[self.weight]).transpose(0, 2, 1)

    def bias(self) -> Float64:
        if not self.takes_bias:
            return np.zeros((len(self.weights()), self.weights().shape[2]))
        return np.split(read(self.node.inputs[_BIAS]), 2, axis=1)[self.weight - 1]

    def write(self, weights: Float64, bias: Float64 | None) -> None:
        overwrite(self.node.inputs[self.weight], weights.transpose(0, 2, 1))
        if bias is not None:
            halves = np.split(read(self.node.inputs[_BIAS]), 2, axis=1)
            halves[self.weight - 1] = bias
            overwrite(self.node.inputs[_BIAS], np.concatenate(halves, axis=1))


def recurrent(node: ir.Node) -> Sequence[LinearLayer]:
    """The maps of a recurrent node, if they can be refitted."""
    weights = [node.inputs[1], node.inputs[2]]
    bias = node.inputs[_BIAS] if len(node.inputs) > _BIAS else None
    if bias is not None:
        weights.append(bias)
    if not all(is_own_weight(value) for value in weights):
        return ()
    if node.attributes.get_int("layout", 0):
        return (_GateMap(node, 1),)
    has_states = bool(node.outputs and node.outputs[0].name)
    return (_GateMap(node, 1), _GateMap(node, 2)) if has_states else (_GateMap(node, 1),)
