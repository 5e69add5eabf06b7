"""The table of operators: what is known of each in INT8, by its name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import onnx_ir as ir

from quantizers.policy.operators import (
    activations,
    arithmetic,
    convolutions,
    float_only,
    matrix_products,
    movements,
)
from quantizers.policy.operators.base import Operator

OPERATORS: Mapping[str, Operator] = MappingProxyType(
    {
        operator.op_type: operator
        for module in (
            *(convolutions, matrix_products, arithmetic, movements, activations, float_only),
        )
        for operator in module.OPERATORS
    }
)
"""Operators of the standard ONNX domain of which something is known."""


def operator_of(node: ir.Node | None) -> Operator | None:
    """What is known of the operator of ``node``, or None."""
    return OPERATORS.get(node.op_type) if node is not None and node.domain == "" else None
