"""Division with the rounding that TensorFlow and Keras mean.

tf2onnx divides whole numbers as floats, which rounds towards zero and loses digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converter.lowering.builder import Builder


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


def _is_integer(build: Builder, x: str) -> bool:
    return bool(build.numpy_type(x).kind in "iu")
