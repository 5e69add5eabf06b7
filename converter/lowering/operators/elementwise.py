"""Functions of one element that ONNX has not, from those that it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converter.lowering.builder import Builder

_FLOAT = 1


def erfc(build: Builder, node: Any) -> Sequence[str]:
    """``erfc(x) = 1 - erf(x)``."""
    (x,) = node.input
    return [build.op("Sub", build.scalar(1, like=x), build.op("Erf", x))]


def expm1(build: Builder, node: Any) -> Sequence[str]:
    """``exp(x) - 1 = tanh(x / 2) * (exp(x) + 1)``, which loses no digits near zero."""
    (x,) = node.input
    half = build.op("Tanh", build.op("Mul", x, build.scalar(0.5, like=x)))
    return [build.op("Mul", half, build.op("Add", build.op("Exp", x), build.scalar(1, like=x)))]


def log1p(build: Builder, node: Any) -> Sequence[str]:
    """``log(1 + x)``, near zero ``2 * atanh(x / (x + 2))``, which loses no digits there."""
    (x,) = node.input
    far = build.op("Log", build.op("Add", x, build.scalar(1, like=x)))
    if build.dtype(x) != _FLOAT:
        return [far]  # ONNX Runtime has Atanh for float32 alone, and float64 has digits to lose
    ratio = build.op("Div", x, build.op("Add", x, build.scalar(2, like=x)))
    near = build.op("Mul", build.op("Atanh", ratio), build.scalar(2, like=x))
    small = build.op("Less", build.op("Abs", x), build.scalar(0.5, like=x))
    return [build.op("Where", small, near, far)]


def relu(build: Builder, node: Any) -> Any:
    """Relu of whole numbers, for which ONNX Runtime has few kernels."""
    (x,) = node.input
    if build.numpy_type(x).kind not in "iu":
        return NotImplemented
    return [build.op("Max", x, build.scalar(0, like=x))]


def mul_no_nan(build: Builder, node: Any) -> Sequence[str]:
    """MulNoNan: zero where the second factor is, whatever the first."""
    x, y = node.input
    return [_zero_where_zero(build, y, build.op("Mul", x, y))]


def xlogy(build: Builder, node: Any) -> Sequence[str]:
    """``x * log(y)``, zero where x is."""
    x, y = node.input
    return [_zero_where_zero(build, x, build.op("Mul", x, build.op("Log", y)))]


def xlog1py(build: Builder, node: Any) -> Sequence[str]:
    """``x * log(1 + y)``, zero where x is."""
    x, y = node.input
    more = build.op("Add", y, build.scalar(1, like=y))
    return [_zero_where_zero(build, x, build.op("Mul", x, build.op("Log", more)))]


def xdivy(build: Builder, node: Any) -> Sequence[str]:
    """``x / y``, zero where x is."""
    x, y = node.input
    return [_zero_where_zero(build, x, build.op("Div", x, y))]


def euclidean_norm(build: Builder, node: Any) -> Any:
    """EuclideanNorm over constant axes: ReduceL2."""
    x, axes = node.input[0], node.inputs[1]
    if not axes.is_const():
        return NotImplemented
    values = [int(axis) for axis in axes.get_tensor_value(as_list=False).reshape(-1)]
    keep = bool(node.get_attr_value("keep_dims", 0))
    return [build.reduce("ReduceL2", x, values, keepdims=keep)]


def _zero_where_zero(build: Builder, x: str, product: str) -> str:
    zero = build.scalar(0, like=x)
    return build.op("Where", build.op("Equal", x, zero), zero, product)
