"""Whole numbers: division with the rounding that TensorFlow means, products, shifts.

tf2onnx divides whole numbers as floats, which rounds towards zero and loses digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converter.lowering.builder import Builder
from converter.lowering.operators.base import UnsupportedLowering

_INT64, _UINT64 = 7, 13
_FIRST_TURNED, _SECOND_TURNED = ("transpose_a", "adj_x"), ("transpose_b", "adj_y")


def floor_div(build: Builder, node: Any) -> Any:
    """FloorDiv of whole numbers: without its remainder, the dividend divides evenly."""
    x, y = node.input
    if not _is_integer(build, x):
        return NotImplemented
    return [build.op("Div", build.op("Sub", x, build.op("Mod", x, y)), y)]


def floor_mod(build: Builder, node: Any) -> Sequence[str]:
    """FloorMod of whole numbers: the remainder has the sign of the divisor, as ONNX's has."""
    x, y = node.input
    return [build.op("Mod", x, y)] if _is_integer(build, x) else NotImplemented


def truncate_mod(build: Builder, node: Any) -> Sequence[str]:
    """TruncateMod, and Mod of TensorFlow: the remainder has the sign of the dividend."""
    return [build.op("Mod", *node.input, fmod=1)]


def matmul(build: Builder, node: Any) -> Any:
    """MatMul and BatchMatMul of whole numbers, either of them transposed."""
    if build.numpy_type(node.input[0]).kind not in "iu":
        return NotImplemented
    dtype = build.dtype(node.output[0])
    factors = []
    for tensor, flags in zip(node.input, (_FIRST_TURNED, _SECOND_TURNED), strict=True):
        factor = tensor if build.dtype(tensor) == dtype else build.op("Cast", tensor, to=dtype)
        turned = any(node.get_attr_value(flag, 0) for flag in flags)
        factors.append(_transposed(build, node, factor) if turned else factor)
    return [build.op("MatMul", *factors)]


def invert_permutation(build: Builder, node: Any) -> Sequence[str]:
    """InvertPermutation: at each number, the place where it stood."""
    (x,) = node.input
    size = build.squeeze(build.op("Shape", x), 0)
    places = build.op("Range", build.constant(0), size, build.constant(1))
    wide = build.op("Cast", x, to=_INT64)
    inverse = build.op("ScatterElements", places, wide, places, axis=0)
    return [build.op("Cast", inverse, to=build.dtype(x))]


def _transposed(build: Builder, node: Any, tensor: str) -> str:
    shape = build.shape(tensor)
    if shape is None:
        raise UnsupportedLowering(node, "it transposes a tensor of unknown rank")
    rank = len(shape)
    return build.op("Transpose", tensor, perm=[*range(rank - 2), rank - 1, rank - 2])


def bitcast(build: Builder, node: Any) -> Any:
    """Bitcast between whole numbers of one size, of which one has a sign."""
    (x,) = node.input
    types = [np.dtype(build.numpy_type(each)) for each in (x, node.output[0])]
    if any(each.kind not in "iu" for each in types) or types[0].itemsize != types[1].itemsize:
        return NotImplemented
    return [build.op("Cast", x, to=build.dtype(node.output[0]))]


def left_shift(build: Builder, node: Any) -> Sequence[str]:
    """LeftShift; ONNX shifts what has no sign, and the bits are the same."""
    x, by = node.input
    shifted = _shifted(build, build.op("Cast", x, to=_UINT64), by, "LEFT")
    return [build.op("Cast", shifted, to=build.dtype(x))]


def right_shift(build: Builder, node: Any) -> Sequence[str]:
    """RightShift, which keeps the sign: of a negative number, its complement is shifted."""
    x, by = node.input
    dtype = build.dtype(x)
    if build.numpy_type(x).kind == "u":
        shifted = _shifted(build, build.op("Cast", x, to=_UINT64), by, "RIGHT")
        return [build.op("Cast", shifted, to=dtype)]
    x = build.op("Cast", x, to=_INT64)
    negative = build.op("Less", x, build.constant(0))
    ones = build.constant(-1)
    bits = build.op("Where", negative, build.op("Sub", ones, x), x)
    shifted = _shifted(build, build.op("Cast", bits, to=_UINT64), by, "RIGHT")
    shifted = build.op("Cast", shifted, to=_INT64)
    shifted = build.op("Where", negative, build.op("Sub", ones, shifted), shifted)
    return [build.op("Cast", shifted, to=dtype)]


def population_count(build: Builder, node: Any) -> Sequence[str]:
    """PopulationCount: how many bits of a whole number are one."""
    (x,) = node.input
    width = 8 * np.dtype(build.numpy_type(x)).itemsize
    wide = build.unsqueeze(build.op("Cast", x, to=_UINT64), -1)
    bits = _shifted(build, wide, build.constant(np.arange(width)), "RIGHT")
    lowest = build.op("Mod", bits, build.constant(2, np.uint64))
    count = build.reduce("ReduceSum", build.op("Cast", lowest, to=_INT64), [-1])
    return [build.op("Cast", count, to=build.dtype(node.output[0]))]


def _shifted(build: Builder, bits: str, by: str, direction: str) -> str:
    return build.op("BitShift", bits, build.op("Cast", by, to=_UINT64), direction=direction)


def _is_integer(build: Builder, x: str) -> bool:
    return bool(build.numpy_type(x).kind in "iu")
