"""Whether a graph computes in integers."""

from __future__ import annotations

import re

import onnx_ir as ir


def is_quantized(model: ir.Model) -> bool:
    """Whether any operator quantizes, dequantizes or works on quantized integers."""
    return any(
        re.search(r"QuantizeLinear|^QLinear|Integer$|NBits$|^DynamicQuantize", node.op_type)
        for graph in model.graphs()
        for node in graph
    )
