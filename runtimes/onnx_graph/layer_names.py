"""Which layer a node of a graph came from, as ``kilnx convert`` wrote it down."""

from __future__ import annotations

import onnx_ir as ir

LAYER_KEY = "kilnx.layer"
"""Metadata key of an ONNX node: the path of the Keras layer that it came from."""

QUANTIZING = frozenset({"QuantizeLinear", "DequantizeLinear"})


def layer_of(node: ir.Node) -> str | None:
    """The path of the node's Keras layer, ``block_1/conv`` say, or None where it is not known."""
    return node.metadata_props.get(LAYER_KEY)


def label_of(node: ir.Node) -> str:
    """The layer's path, else the node's own name, else its operator and output."""
    return layer_of(node) or node.name or f"{node.op_type} of {node.outputs[0].name}"
