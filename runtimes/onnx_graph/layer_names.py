"""Which layer a node of a graph came from, as recorded by ``kilnx convert``."""

from __future__ import annotations

import onnx_ir as ir

LAYER_KEY = "kilnx.layer"
"""Metadata key of an ONNX node: the path of the Keras layer that it came from."""

QUANTIZING = frozenset({"QuantizeLinear", "DequantizeLinear"})


def layer_of(node: ir.Node) -> str | None:
    """The path of the node's Keras layer, such as ``block_1/conv``, or None if not known."""
    return node.metadata_props.get(LAYER_KEY)


def label_of(node: ir.Node) -> str:
    """The layer's path, or else the node's own name, or else its operator and output."""
    return layer_of(node) or node.name or f"{node.op_type} of {node.outputs[0].name}"
