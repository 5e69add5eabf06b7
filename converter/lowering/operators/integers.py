"""Division with the rounding that TensorFlow and Keras mean.

tf2onnx divides whole numbers as floats, which rounds towards zero and loses digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converter.lowering.builder import Builder

_INT64, _UINT64 = 7, 13


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


def _shifted(build: Builder, bits: str, by: str, direction: str) -> str:
    return build.op("BitShift", bits, build.op("Cast", by, to=_UINT64), direction=direction)


def _is_integer(build: Builder, x: str) -> bool:
    return bool(build.numpy_type(x).kind in "iu")
