"""What OpenVINO made of a model: its layers, and the precision that each really runs in.

The runtime model says it. What a file asks for is one thing: OpenVINO decides itself which
quantized operators it computes in integers, and computes float32 files in bfloat16 where the CPU is
made for that, unless it is told not to.

https://docs.openvino.ai/2026/openvino-workflow/running-inference.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from runtimes.engines.placement import LayerPrecision
from runtimes.onnx_graph.layer_names import QUANTIZING

# What only holds, moves or relabels values.
_MOVES = {
    "Broadcast", "Concatenation", "Const", "Gather", "Input", "Output", "Reorder", "Reshape",
    "ShapeOf", "Split", "StridedSlice", "Tile", "Transpose",
}  # fmt: skip


def layers_of(compiled: Any, model: ir.Model) -> tuple[LayerPrecision, ...]:
    """The layers of the compiled model that compute something, in order of execution."""
    operators = {str(node.name): node.op_type for node in model.graph}
    found = []
    for layer in compiled.get_runtime_model().get_ordered_ops():
        said = {key: str(value.value) for key, value in layer.get_rt_info().items()}
        kind, precision = said.get("layerType", ""), said.get("runtimePrecision", "")
        if kind and precision and kind not in _MOVES:
            name = _node_of(said.get("originalLayersNames", ""), operators)
            found.append(LayerPrecision(name or layer.get_friendly_name(), kind, precision))
    return tuple(found)


def _node_of(originals: str, operators: Mapping[str, str]) -> str | None:
    """The model's node that a layer comes from: the first that is more than a quantizer."""
    known = [name for name in originals.split(",") if name in operators]
    computing = [name for name in known if operators[name] not in QUANTIZING]
    return next(iter(computing or known), None)
