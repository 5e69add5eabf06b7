"""Functions of one element that ONNX has not, from those that it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converter.lowering.builder import Builder


def erfc(build: Builder, node: Any) -> Sequence[str]:
    """``erfc(x) = 1 - erf(x)``."""
    (x,) = node.input
    return [build.op("Sub", build.scalar(1, like=x), build.op("Erf", x))]


def expm1(build: Builder, node: Any) -> Sequence[str]:
    """``exp(x) - 1 = tanh(x / 2) * (exp(x) + 1)``, which loses no digits near zero."""
    (x,) = node.input
    half = build.op("Tanh", build.op("Mul", x, build.scalar(0.5, like=x)))
    return [build.op("Mul", half, build.op("Add", build.op("Exp", x), build.scalar(1, like=x)))]
