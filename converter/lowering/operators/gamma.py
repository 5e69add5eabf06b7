"""The logarithm of the gamma function and its slope, by Stirling's series.

Below eight the series is taken eight further on and ``gamma(x + 1) = x gamma(x)`` leads back; what
is negative is reflected: https://dlmf.nist.gov/5.5 and https://dlmf.nist.gov/5.11
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from converter.lowering.builder import Builder
from converter.lowering.operators.arithmetic import GraphMath, GraphValue
from converter.lowering.operators.base import UnsupportedLowering

_FLOAT = 1
_FAR = 8
_SERIES = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680)
_SLOPE = (-1 / 12, 1 / 120, -1 / 252, 1 / 240)


def lgamma(build: Builder, node: Any) -> Sequence[str]:
    """Lgamma; infinite at zero and below at whole numbers."""
    x, math_ = _operand(build, node)
    mirrored = x < 0.5
    at = math_.where(mirrored, 1.0 - x, x)
    # log(x (x + 1) … (x + 7)), which is log(gamma(x + 8) / gamma(x)): in two halves, for range.
    product, above = at, at
    for _ in range(_FAR - 1):
        above = above + 1.0
        product = product * above
    near = at < float(_FAR)
    far = math_.where(near, at + float(_FAR), at)
    log = math_.op("Log", far)
    value = (far - 0.5) * log - far + 0.5 * math.log(2 * math.pi) + _summed(_SERIES, far, 1.0 / far)
    value = value - math_.where(near, math_.op("Log", math_.where(near, product, 1.0)), 0.0)
    # gamma(x) gamma(1 - x) = pi / sin(pi x)
    wave = math_.abs(math_.sin((x - math_.floor(x)) * math.pi))
    reflected = math.log(math.pi) - math_.op("Log", wave) - value
    whole = math_.op("Equal", math_.floor(x), x) & (x <= 0.0)
    return [math_.where(whole, float("inf"), math_.where(mirrored, reflected, value)).name]


def digamma(build: Builder, node: Any) -> Sequence[str]:
    """Digamma; no number at zero and below at whole numbers."""
    x, math_ = _operand(build, node)
    mirrored = x < 0.5
    at = math_.where(mirrored, 1.0 - x, x)
    near = at < float(_FAR)
    back: Any = 0.0
    for i in range(_FAR):
        back = 1.0 / (at + float(i)) + back
    far = math_.where(near, at + float(_FAR), at)
    inverse = 1.0 / far
    value = math_.op("Log", far) - 0.5 * inverse + _summed(_SLOPE, far, inverse * inverse)
    value = value - math_.where(near, back, 0.0)
    angle = (x - math_.floor(x)) * math.pi
    reflected = value - math.pi * math_.op("Cos", angle) / math_.sin(angle)
    whole = math_.op("Equal", math_.floor(x), x) & (x <= 0.0)
    return [math_.where(whole, float("nan"), math_.where(mirrored, reflected, value)).name]


def _summed(coefficients: Sequence[float], x: GraphValue, first: GraphValue) -> GraphValue:
    """A series in 1/x², times ``first``."""
    square = 1.0 / (x * x)
    total = square * coefficients[-1]
    for coefficient in coefficients[-2:0:-1]:
        total = square * (total + coefficient)
    return first * (total + coefficients[0])


def _operand(build: Builder, node: Any) -> tuple[GraphValue, GraphMath]:
    (x,) = node.input
    if build.dtype(x) != _FLOAT:
        raise UnsupportedLowering(node, "it is written for float32 only")
    return GraphValue(build, str(x)), GraphMath(build)
