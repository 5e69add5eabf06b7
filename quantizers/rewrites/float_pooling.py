"""Max pooling that is in float stays so."""

from __future__ import annotations

import onnx_ir as ir

from runtimes.onnx_graph.rewrite import Refuse, RewritePass
from runtimes.onnx_graph.values import is_op


class ShieldPooling(RewritePass):
    """Put a ``Sum`` of one operand, which changes nothing, between a float MaxPool and its Q.

    ONNX Runtime moves QuantizeLinear in front of a MaxPool, and pools bytes in planes forty times
    slower than floats (channels last it is fast, but only behind a convolution in INT8): a network
    whose first convolution is better in float would lose all that the others gain. It does not move
    a QuantizeLinear across a Sum.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Shield each float MaxPool of the main graph whose result is quantized."""
        modified = False
        for pool in tuple(model.graph):
            if not is_op(pool, "MaxPool") or _on_bytes(pool):
                continue
            pooled = pool.outputs[0]
            readers = [use.node for use in pooled.uses() if is_op(use.node, "QuantizeLinear")]
            if not readers:
                continue
            shield = ir.node("Sum", [pooled], name=f"{pool.name}_kept")
            result = shield.outputs[0]
            result.name, result.type, result.shape = (
                f"{pooled.name}_kept",
                pooled.type,
                pooled.shape,
            )
            model.graph.insert_after(pool, shield)
            for reader in readers:
                reader.replace_input_with(0, result)
            modified = True
        return modified


def _on_bytes(pool: ir.Node) -> bool:
    source = None if pool.inputs[0] is None else pool.inputs[0].producer()
    return is_op(source, "DequantizeLinear")
