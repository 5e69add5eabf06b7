"""The operators that can be trained through, by domain and name."""

from __future__ import annotations

from quantizers.training.operators import (
    convolution,
    dynamic_lstm,
    elementwise,
    indexing,
    linear,
    moves,
    normalization,
    padding,
    pooling,
    quantization,
    recurrent,
    reductions,
    resizing,
    sampling,
    scattering,
    shape_arithmetic,
)
from quantizers.training.operators.base import Operator

_MODULES = (
    convolution,
    elementwise,
    indexing,
    linear,
    moves,
    normalization,
    padding,
    pooling,
    quantization,
    recurrent,
    reductions,
    resizing,
    sampling,
    scattering,
    shape_arithmetic,
)

_MICROSOFT = "com.microsoft"

TABLE: dict[tuple[str, str], Operator] = {
    **{("", name): operator for module in _MODULES for name, operator in module.OPERATORS.items()},
    **{(_MICROSOFT, name): operator for name, operator in dynamic_lstm.OPERATORS.items()},
}
"""Maps (domain, operator) to what computes it."""
