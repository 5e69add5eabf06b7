"""What OpenVINO made of a model: its layers, and the precision that each really runs in.

The runtime model says it. What a file asks for is one thing: OpenVINO decides itself which
quantized operators it computes in integers, and computes float32 files in bfloat16 where the CPU is
made for that, unless it is told not to.

https://docs.openvino.ai/2026/openvino-workflow/running-inference.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from runtimes.engines.openvino_nodes import runtime_nodes
from runtimes.engines.placement import LayerPrecision
from runtimes.onnx_graph.layer_names import QUANTIZING

# What only holds, moves or relabels values.
_MOVES = {
    "Broadcast", "Concatenation", "Gather", "Reorder", "Reshape",
    "ShapeOf", "Split", "StridedSlice", "Tile", "Transpose",
}  # fmt: skip


def layers_of(compiled: Any, model: ir.Model) -> tuple[LayerPrecision, ...]:
    """The layers of the compiled model that compute something, in order of execution."""
    operators = {str(node.name): node.op_type for node in model.graph}
    found = []
    for layer in runtime_nodes(compiled):
        if layer.kind and layer.precision and layer.kind not in _MOVES:
            name = _node_of(layer.origins, operators) or layer.name
            found.append(LayerPrecision(name, layer.kind, layer.precision))
    return tuple(found)


def _node_of(origins: Sequence[str], operators: Mapping[str, str]) -> str | None:
    """The model's node that a layer comes from: the first that is more than a quantizer."""
    known = [name for name in origins if name in operators]
    computing = [name for name in known if operators[name] not in QUANTIZING]
    return next(iter(computing or known), None)
