"""Compute views of shared weights ahead of time, so that their readers see constants."""

from __future__ import annotations

import sys

import onnx_ir as ir

from runtimes.onnx_graph.fold_constants import FoldConstants
from runtimes.onnx_graph.rewrite import Refuse, Refused, RewritePass
from runtimes.onnx_graph.values import all_nodes, is_constant, is_op, opset

VIEW_KEY = "kilnx.view"
"""Metadata key of nodes that deduplication added to read one tensor from another."""
_VIEWS = ("ConstantOfShape", "Reshape", "Slice", "Transpose")


class FoldViews(RewritePass):
    """Compute every view of a constant (such as a shared weight), whatever its size.

    The opposite of ``deduplicate(model, views=True)``, which shares the weights again.
    ``only_ours``: leave views that the model came with, such as a tied embedding's Transpose.
    """

    def __init__(self, *, only_ours: bool = False) -> None:
        self.only_ours = only_ours

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Fold views in the main graph and its subgraphs, in graph order."""
        folder = FoldConstants(max_growth_bytes=sys.maxsize, max_copy_bytes=sys.maxsize)
        modified = False
        for node in all_nodes(model):
            if not is_op(node, *_VIEWS) or not all(is_constant(value) for value in node.inputs):
                continue
            if any(output.is_graph_output() for output in node.outputs):
                continue
            if self.only_ours and VIEW_KEY not in node.metadata_props:
                continue
            try:
                folder.fold(node, opset(model))
                modified = True
            except Refused as reason:
                refuse(node, str(reason))
        return modified
