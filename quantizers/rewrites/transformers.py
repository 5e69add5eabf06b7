"""Function-preserving rewrites of transformer blocks into what ONNX Runtime runs fast.

What surrounds the matrix products decides there: in INT8 they take less than half of the time.
"""

from __future__ import annotations

import onnx_ir as ir

from runtimes.onnx_graph.rewrite import Refuse, RewritePass
from runtimes.onnx_graph.values import constant, is_op


class KeepSumsApart(RewritePass):
    """``Add`` in front of ``LayerNormalization`` becomes ``Sum``, which computes the same.

    ONNX Runtime fuses the two into SkipLayerNormalization, whose CPU kernel is not vectorized: on
    the encoder of ``benchmarks/quantize.py`` it takes eight times as long as they do apart.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Rename each such addition of two activations."""
        modified = False
        for node in tuple(model.graph):
            if not is_op(node, "LayerNormalization") or node.inputs[0] is None:
                continue
            add = node.inputs[0].producer()
            if add is None or not is_op(add, "Add"):
                continue
            if any(constant(value) is not None for value in add.inputs):
                refuse(add, "it adds a constant, which ONNX Runtime does not fuse")
                continue
            add.op_type = "Sum"
            modified = True
        return modified
