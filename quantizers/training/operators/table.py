"""The operators that can be trained through, by domain and name."""

from __future__ import annotations

from quantizers.training.operators import (
    convolution,
    elementwise,
    linear,
    normalization,
    pooling,
    quantization,
    reductions,
    shapes,
)
from quantizers.training.operators.base import Operator

_MODULES = (
    convolution,
    elementwise,
    linear,
    normalization,
    pooling,
    quantization,
    reductions,
    shapes,
)

TABLE: dict[tuple[str, str], Operator] = {
    ("", name): operator for module in _MODULES for name, operator in module.OPERATORS.items()
}
"""Maps (domain, operator) to what computes it."""
