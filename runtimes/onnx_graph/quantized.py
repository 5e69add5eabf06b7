"""Whether a graph computes in, or stores its weights as, quantized integers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

LOW_BIT_KEY = "kilnx.bits"
"""Metadata key of the node that ends what makes a weight of its codes of few bits."""

# Matched by name, because the operators are many and in two domains: Q/DQ and ONNX's QLinear and
# Integer operators; and of com.microsoft, those that quantize at run time (DynamicQuantizeLSTM),
# take quantized inputs (QAttention, QGemm, QMoE, QOrdered…) or low-bit weights (MatMulNBits).
_QUANTIZED = re.compile(
    r"[Qq]uantize|Integer(16|ToFloat)?$|NBits|Bnb4$|FpQ4$|"
    r"^Q(Linear|Ordered|Attention|Embed|Gemm|MoE)"
)


def is_quantized(model: ir.Model) -> bool:
    """Whether some operator works on quantized integers, or some weight is stored in few bits."""
    return first_quantized_node(model) is not None or first_low_bit_node(model) is not None


def first_quantized_node(model: ir.Model) -> ir.Node | None:
    """The first such node, subgraphs included; None if there is none."""
    nodes = (node for graph in model.graphs() for node in graph)
    return next((node for node in nodes if is_quantized_operator(node.op_type)), None)


def is_quantized_operator(op_type: str) -> bool:
    """Whether an operator of that name quantizes, dequantizes or works on quantized integers."""
    return _QUANTIZED.search(op_type) is not None


def first_low_bit_node(model: ir.Model) -> ir.Node | None:
    """The first node that makes a weight of its codes of few bits; None if there is none."""
    return next((node for node in model.graph if LOW_BIT_KEY in node.metadata_props), None)


def stored_in_few_bits(graph: str, node: ir.Node) -> str:
    """What is said to those who want to quantize or prune a model that stores weights so."""
    form = node.metadata_props[LOW_BIT_KEY]
    return (
        f"{graph or 'the model'} stores weights in few bits already: {node.name!r} as {form}; "
        "compress the float model it came from"
    )


def quantized_already(graph: str, node: str, op_type: str) -> str:
    """What is said to those who want to quantize or prune a model that is quantized."""
    return (
        f"{graph or 'the model'} is quantized already: node {node!r} is a {op_type}; quantize the "
        "float model it came from"
    )
