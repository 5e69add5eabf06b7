"""How large the result of a node on constants will be, before it is computed.

A few bytes of ONNX can ask for a tensor that does not fit in memory (ConstantOfShape, Expand,
Tile, a broadcast), so the size has to be checked before constants are computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from runtimes.onnx_graph.values import Array, static_shape


def result_elements(node: ir.Node, inputs: Sequence[Array | None]) -> int | None:
    """Upper bound on the elements of the first output; ``None`` if there is no rule for it.

    Raises ``ValueError``, ``IndexError`` or ``TypeError`` for inputs that do not fit.
    """
    arrays = [array for array in inputs if array is not None]
    rule = _RULES.get(node.op_type)
    if rule is not None and arrays:
        return rule(node, arrays)
    shape = static_shape(node.outputs[0])
    return None if shape is None else math.prod(shape)


def _of_all(node: ir.Node, arrays: list[Array]) -> int:
    return sum(array.size for array in arrays)


def _of_first(node: ir.Node, arrays: list[Array]) -> int:
    return arrays[0].size


def _of_broadcast(node: ir.Node, arrays: list[Array]) -> int:
    return math.prod(np.broadcast_shapes(*(array.shape for array in arrays)))


def _of_constant_of_shape(node: ir.Node, arrays: list[Array]) -> int:
    return math.prod(int(dim) for dim in arrays[0])


def _of_expand(node: ir.Node, arrays: list[Array]) -> int:
    return math.prod(np.broadcast_shapes(arrays[0].shape, tuple(int(d) for d in arrays[1])))


def _of_tile(node: ir.Node, arrays: list[Array]) -> int:
    return arrays[0].size * math.prod(int(repeat) for repeat in arrays[1])


def _of_range(node: ir.Node, arrays: list[Array]) -> int | None:
    start, limit, delta = (float(array.reshape(())) for array in arrays)
    return max(0, math.ceil((limit - start) / delta)) if delta else None


def _of_gather(node: ir.Node, arrays: list[Array]) -> int:
    rows = arrays[0].shape[node.attributes.get_int("axis", 0)]
    return arrays[0].size // rows * arrays[1].size if rows else 0


def _of_product(node: ir.Node, arrays: list[Array]) -> int:
    left, right = arrays
    rows = left.shape[-2:-1]
    columns = right.shape[-1:] if right.ndim > 1 else ()
    return math.prod((*np.broadcast_shapes(left.shape[:-2], right.shape[:-2]), *rows, *columns))


def _of_rank(node: ir.Node, arrays: list[Array]) -> int:
    return arrays[0].ndim


_RULES: dict[str, Callable[[ir.Node, list[Array]], int | None]] = {
    "ConstantOfShape": _of_constant_of_shape,
    "Expand": _of_expand,
    "Tile": _of_tile,
    "Range": _of_range,
    "Gather": _of_gather,
    "Shape": _of_rank,
    "MatMul": _of_product,
    **dict.fromkeys(("Concat", "Slice", "Cast", "Reshape", "Squeeze", "Unsqueeze"), _of_all),
    **dict.fromkeys(
        (
            *("Add", "Sub", "Mul", "Div", "Pow", "Mod", "Where", "Max", "Min", "Sum", "Mean"),
            *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor"),
            *("BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift"),
        ),
        _of_broadcast,
    ),
    **dict.fromkeys(
        (
            *("Identity", "Transpose", "Flatten", "Neg", "Abs", "Sqrt", "Floor", "Ceil", "Clip"),
            *("Reciprocal", "Not", "Erf", "Exp", "Log", "Sin", "Cos", "Tan", "Tanh", "Sigmoid"),
            *("Relu", "Sign", "Round", "Softmax", "CumSum", "Trilu", "ArgMax", "ArgMin"),
            *("ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceMean", "ReduceL1"),
            *("ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp", "Size"),
        ),
        _of_first,
    ),
}
