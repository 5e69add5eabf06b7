"""The angle of a point, which ONNX has not."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi
from typing import Any

from converter.lowering.builder import Builder


def atan2(build: Builder, node: Any) -> Sequence[str]:
    """Atan2, with the signs of zeros and infinities that C gives it."""
    return [arctangent(build, *node.input)]


def arctangent(build: Builder, y: str, x: str) -> str:
    """The angle of ``(x, y)`` in -π .. π: that of a ratio of at most one, and what it lacks."""
    zero, one = build.scalar(0, like=x), build.scalar(1, like=x)
    width, height = build.op("Abs", x), build.op("Abs", y)
    steep = build.op("Greater", height, width)
    short, long = build.op("Min", width, height), build.op("Max", width, height)
    # Equal sides, zeros and infinities among them, lie on a diagonal: but for zeros.
    ratio = build.op("Div", short, long)
    ratio = build.op("Where", build.op("Equal", width, height), one, ratio)
    ratio = build.op("Where", build.op("Equal", long, zero), zero, ratio)
    angle = build.op("Atan", ratio)
    angle = build.op("Where", steep, build.op("Sub", build.scalar(pi / 2, like=x), angle), angle)
    left = _is_negative(build, x, zero)
    angle = build.op("Where", left, build.op("Sub", build.scalar(pi, like=x), angle), angle)
    return build.op("Where", _is_negative(build, y, zero), build.op("Neg", angle), angle)


def _is_negative(build: Builder, x: str, zero: str) -> str:
    below = build.op("Less", x, zero)
    side = build.op("Less", build.op("Reciprocal", x), zero)
    return build.op("Or", below, build.op("And", build.op("Equal", x, zero), side))
