"""Functions that are approximated by polynomials, to the digits of float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converter.lowering.builder import Builder
from converter.lowering.operators.base import UnsupportedLowering

# M. Giles, "Approximating the erfinv function" (2010), single precision: highest power first.
_ERFINV_CENTRAL = (
    *(2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087),
    *(-0.00125372503, -0.00417768164, 0.246640727, 1.50140941),
)
_ERFINV_TAIL = (
    *(-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773),
    *(-0.0076224613, 0.00943887047, 1.00167406, 2.83297682),
)

# Abramowitz and Stegun, 9.8.1 and 9.8.2: errors below 1.6e-7 and 1.9e-7.
_I0_NEAR = (0.0045813, 0.0360768, 0.2659732, 1.2067492, 3.0899424, 3.5156229, 1.0)
_I0_FAR = (
    *(0.00392377, -0.01647633, 0.02635537, -0.02057706, 0.00916281),
    *(-0.00157565, 0.00225319, 0.01328592, 0.39894228),
)
_I0_LIMIT = 3.75


def erfinv(build: Builder, node: Any) -> Sequence[str]:
    """Erfinv: a polynomial in ``w = -log(1 - x²)``, another one in its root where it is large."""
    x = _float32(build, node)
    one = build.scalar(1, like=x)
    product = build.op("Mul", build.op("Sub", one, x), build.op("Add", one, x))
    w = build.op("Neg", build.op("Log", product))
    central = _polynomial(build, _ERFINV_CENTRAL, _minus(build, w, 2.5))
    root = build.op("Sqrt", build.op("Max", w, build.scalar(0, like=x)))
    tail = _polynomial(build, _ERFINV_TAIL, _minus(build, root, 3.0))
    near = build.op("Less", w, build.scalar(5, like=x))
    # At the ends the polynomial is infinite as w is, but of the other sign.
    finite = build.op("Mul", x, build.op("Where", near, central, tail))
    end = build.op("Equal", build.op("Abs", x), one)
    return [build.op("Where", end, build.op("Mul", x, build.scalar(float("inf"), like=x)), finite)]


def bessel_i0(build: Builder, node: Any) -> Sequence[str]:
    """BesselI0."""
    x = _float32(build, node)
    size = build.op("Abs", x)
    near, far, is_near = _i0_parts(build, size)
    return [build.op("Where", is_near, near, build.op("Mul", build.op("Exp", size), far))]


def bessel_i0e(build: Builder, node: Any) -> Sequence[str]:
    """BesselI0e: the same over ``exp(|x|)``."""
    x = _float32(build, node)
    size = build.op("Abs", x)
    near, far, is_near = _i0_parts(build, size)
    scaled = build.op("Mul", build.op("Exp", build.op("Neg", size)), near)
    return [build.op("Where", is_near, scaled, far)]


def _i0_parts(build: Builder, size: str) -> tuple[str, str, str]:
    """I0 near zero, ``exp(-x) I0`` far from it, and which one counts."""
    limit = build.scalar(_I0_LIMIT, like=size)
    ratio = build.op("Div", size, limit)
    near = _polynomial(build, _I0_NEAR, build.op("Mul", ratio, ratio))
    at_least = build.op("Max", size, limit)
    far = _polynomial(build, _I0_FAR, build.op("Div", limit, at_least))
    return near, build.op("Div", far, build.op("Sqrt", at_least)), build.op("Less", size, limit)


def _polynomial(build: Builder, coefficients: Sequence[float], x: str) -> str:
    """Horner's scheme, the highest power first."""
    total = build.scalar(coefficients[0], like=x)
    for coefficient in coefficients[1:]:
        total = build.op("Add", build.op("Mul", total, x), build.scalar(coefficient, like=x))
    return total


def _minus(build: Builder, x: str, number: float) -> str:
    return build.op("Sub", x, build.scalar(number, like=x))


def _float32(build: Builder, node: Any) -> str:
    (x,) = node.input
    if build.dtype(x) != 1:
        raise UnsupportedLowering(node, "it is written for float32 only")
    return str(x)
