"""Values that a loop or branch reads from outside of it, behind a DequantizeLinear.

ONNX Runtime moves a DequantizeLinear past operators that only move numbers, to whoever reads them.
A loop or branch reads values of the graph around it without listing them as inputs, and where it is
the reader, ONNX Runtime (1.20 to 1.32) ends the process while it loads the model. With a pair of
QuantizeLinear and DequantizeLinear behind the move there is nothing to move on, and no result
changes: what was only moved lies on its grid already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from runtimes.onnx_graph.subgraphs import captured
from runtimes.onnx_graph.values import is_op

# What ONNX Runtime moves a DequantizeLinear past, and what it removes before it does.
_MOVES = ("MaxPool", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Identity")


MakeNode = Callable[[str, str, Sequence[ir.Value | None]], ir.Node]
"""Makes a node, not in the graph yet, of an operator, the prefix of its name, and inputs."""


def settle_before_subgraphs(graph: ir.Graph, node_of: MakeNode) -> None:
    """Put values that subgraphs of ``graph`` read onto their grid again, in place."""
    outside = {id(value): value for node in graph for value in captured(node)}
    for value in outside.values():
        found = _dequantized(value)
        producer = value.producer()
        if found is None or producer is None or producer is found:
            continue
        parameters = found.inputs[1:]
        quantize = node_of("QuantizeLinear", "q", [value, *parameters])
        dequantize = node_of("DequantizeLinear", "d", [quantize.outputs[0], *parameters])
        uses = [use for use in value.uses() if use.node is not quantize]
        graph.insert_after(producer, [quantize, dequantize])
        for node, index in uses:
            node.replace_input_with(index, dequantize.outputs[0])


def _dequantized(value: ir.Value) -> ir.Node | None:
    """The DequantizeLinear whose numbers ``value`` holds, moved or not."""
    producer = value.producer()
    while producer is not None and is_op(producer, *_MOVES):
        source = producer.inputs[0]
        producer = None if source is None else source.producer()
    return producer if producer is not None and is_op(producer, "DequantizeLinear") else None
