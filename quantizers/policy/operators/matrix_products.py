"""Matrix products in INT8: their results are float, ONNX Runtime has no cheaper way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from quantizers.policy.operators.base import Operator, refuse_bias, refuse_weight
from runtimes.base import Array
from runtimes.onnx_graph.values import is_constant, is_op, only_user, rank, static_shape


class _MatrixProduct(Operator):
    kind = "compute"
    weight = 1
    weight_zero_point = True
    int8_output = False
    fuses_activation = True

    def kernel_rows(
        self, node: ir.Node, weight: Array, batch: Array, step: Callable[[int], int]
    ) -> Array:
        flat = batch.reshape(1, -1, batch.shape[-1])
        return np.ascontiguousarray(flat[:, :: step(flat.shape[1])])

    def kernel_order(self, node: ir.Node, weight: Array) -> Array | None:
        axis = self.weight_axis(node)
        if weight.ndim > 2 or axis is None:
            stacked = np.moveaxis(weight, -2, -1)
            return stacked.reshape(-1, stacked.shape[-1])
        return weight if axis == 0 else weight.T


class Gemm(_MatrixProduct):
    """``x @ weight + bias``, the weight transposed or not."""

    bias = 2
    kernels = frozenset({"QGemm"})

    def refuse(self, node: ir.Node) -> str | None:
        for name in ("alpha", "beta"):
            if node.attributes.get_float(name, 1.0) != 1.0:
                return f"{name} is not 1, and the INT8 bias could not follow it"
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        if bias is not None and rank(bias) != 1:
            return "the bias is not a vector"
        return refuse_weight(node, 1) or refuse_bias(node, 2)

    def weight_axis(self, node: ir.Node) -> int | None:
        return 0 if node.attributes.get_int("transB", 0) else 1

    def kernel_inputs(self, node: ir.Node, weight: Array) -> int | None:
        if weight.ndim != 2 or node.attributes.get_int("transA", 0) != 0:
            return None
        return int(weight.shape[1 if self.weight_axis(node) == 0 else 0])


class MatMul(_MatrixProduct):
    """``x @ weight``; the kernel takes in the addition of a vector behind it."""

    kernels = frozenset({"QLinearMatMul", "MatMulIntegerToFloat", "QGemm"})

    def refuse(self, node: ir.Node) -> str | None:
        if (rank(node.inputs[1]) or 0) < 2:
            return "the weight is not a matrix"
        return refuse_weight(node, 1)

    def weight_axis(self, node: ir.Node) -> int | None:
        # Per-channel scales of stacked matrices have no kernel.
        return 1 if rank(node.inputs[1]) == 2 else None

    def added_bias(self, node: ir.Node) -> tuple[ir.Node, ir.Value] | None:
        product, weight = node.outputs[0], node.inputs[1]
        add = only_user(product)
        if weight is None or weight.shape is None or rank(weight) != 2 or not is_op(add, "Add"):
            return None
        assert add is not None
        other = add.inputs[1] if add.inputs[0] is product else add.inputs[0]
        shape, axes = static_shape(other), rank(product)
        if other is None or not shape or axes is None or not is_constant(other):
            return None
        row = shape == (*[1] * (len(shape) - 1), weight.shape[1]) and len(shape) <= axes
        return (add, other) if row and other.dtype == ir.DataType.FLOAT else None

    def kernel_inputs(self, node: ir.Node, weight: Array) -> int | None:
        return int(weight.shape[0]) if weight.ndim == 2 else None


OPERATORS = (Gemm(), MatMul())
