"""MatMul and Gemm by a constant matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from converter.pruning.operators.channels import IntArray
from converter.pruning.regression.base import LinearLayer, is_own_weight, name_of, overwrite, read
from converter.pruning.regression.normal_equations import Float64
from runtimes.base import Array
from runtimes.onnx_graph.values import add_initializer, constant, is_constant, is_op, only_user


class _Dense:
    """``W [inputs, outputs]``; the Add of a vector behind a MatMul is its bias."""

    weight = 1
    fan = 1
    from_reference = False
    result_axis = -1

    def __init__(self, node: ir.Node) -> None:
        self.node = node
        self._add = None if is_op(node, "Gemm") else _bias_add(node)
        self.source = name_of(node.inputs[0])
        self.result: str | None = name_of((self._add[0] if self._add else node).outputs[0])
        self.takes_bias = self._add is not None or is_op(node, "Gemm")
        self._transposed = bool(node.attributes.get_int("transB", 0))
        self.columns_axis, self.outputs_axis = (1, 0) if self._transposed else (0, 1)

    def count_rows(self, data: Array) -> int:
        return int(data.size // max(1, data.shape[-1]))

    def rows(self, data: Array, chosen: IntArray) -> Array:
        return data.reshape(-1, data.shape[-1])[chosen][None]

    def targets(self, result: Array, chosen: IntArray) -> Array:
        return result.reshape(-1, result.shape[-1])[chosen][None]

    def weights(self) -> Float64:
        matrix = read(self.node.inputs[1])
        return np.asarray(matrix.T if self._transposed else matrix)[None]

    def bias(self) -> Float64:
        value = self._bias_value()
        outputs = self.weights().shape[2]
        given = np.zeros(1) if value is None else read(value).reshape(-1)
        return np.broadcast_to(given, (outputs,))[None]

    def write(self, weights: Float64, bias: Float64 | None) -> None:
        overwrite(self.node.inputs[1], weights[0].T if self._transposed else weights[0])
        if bias is None:
            return
        value = self._bias_value()
        if value is not None:
            overwrite(value, bias[0])
        else:
            add_bias(self.node, bias[0])

    def _bias_value(self) -> ir.Value | None:
        if self._add is not None:
            return self._add[0].inputs[self._add[1]]
        return self.node.inputs[2] if len(self.node.inputs) > 2 else None


def dense(node: ir.Node) -> Sequence[LinearLayer]:
    """The layer that a MatMul or Gemm is, if it can be refitted."""
    weight = constant(node.inputs[1])
    if weight is None or weight.ndim != 2 or not is_own_weight(node.inputs[1]):
        return ()
    if is_constant(node.inputs[0]) or bool(node.attributes.get_int("transA", 0)):
        return ()
    if is_op(node, "Gemm"):
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        scales = [node.attributes.get_float(name, 1.0) for name in ("alpha", "beta")]
        if scales != [1.0, 1.0] or (bias is not None and not is_own_weight(bias)):
            return ()
    return (_Dense(node),)


def _bias_add(node: ir.Node) -> tuple[ir.Node, int] | None:
    """The Add of a constant vector behind a MatMul, and which operand the vector is."""
    user = only_user(node.outputs[0])
    outputs = read(node.inputs[1]).shape[-1]
    if user is None or not is_op(user, "Add"):
        return None
    for index, value in enumerate(user.inputs):
        array = constant(value)
        if array is not None and array.shape == (outputs,) and is_own_weight(value):
            return user, index
    return None


def add_bias(node: ir.Node, bias: Float64) -> None:
    """Give a Conv, ConvTranspose or Gemm that has no bias one as its third input."""
    weight, graph = node.inputs[1], node.graph
    assert weight is not None
    assert weight.const_value is not None
    assert isinstance(graph, ir.Graph)
    numbers = bias.astype(weight.const_value.dtype.numpy())
    node.resize_inputs(3)
    node.replace_input_with(2, add_initializer(graph, f"{weight.name}_bias", numbers))
