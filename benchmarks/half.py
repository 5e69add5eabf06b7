"""A float32 model as float16, with float32 at its inputs and outputs, for GPUs."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

_FLOAT, _HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16
_LARGEST = float(np.finfo(np.float16).max)
# Inputs that stay float32 whatever the type of the data is, by their places.
_STAY = {"Resize": (1, 2), "Upsample": (1,)}


def to_float16(model: ir.Model) -> ir.Model:
    """A copy in which every float32 weight and value is float16; values beyond it are clipped.

    Raises ``ValueError`` for a model with subgraphs, which this leaves alone.
    """
    model = model.clone()
    graph = model.graph
    if any(node.attributes and _has_graph(node) for node in graph):
        raise ValueError("a model with subgraphs is not converted to float16")
    staying = _staying(graph)
    results = [place for place, value in enumerate(graph.outputs) if value.dtype == _FLOAT]
    for value in graph.initializers.values():
        if value.dtype == _FLOAT and value not in staying and value.const_value is not None:
            value.const_value = ir.tensor(_half(value.const_value.numpy()), name=value.name)
            value.dtype = _HALF
    for node in list(graph):
        _convert(node)
    for value in list(graph.inputs):
        if value.dtype == _FLOAT:
            _cast_input(graph, value)
    for place in results:
        _cast_output(graph, place, graph.outputs[place])
    return model


def _has_graph(node: ir.Node) -> bool:
    kinds = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return any(one.type in kinds for one in node.attributes.values())


def _staying(graph: ir.Graph) -> set[ir.Value]:
    return {
        node.inputs[place]
        for node in graph
        for place in _STAY.get(node.op_type, ())
        if place < len(node.inputs) and node.inputs[place] is not None
    }


def _half(array: np.ndarray) -> np.ndarray:
    return np.clip(array, -_LARGEST, _LARGEST).astype(np.float16)


def _convert(node: ir.Node) -> None:
    """The values that a node gives, and the attributes that name float32."""
    for output in node.outputs:
        if output.dtype == _FLOAT:
            output.dtype = _HALF
    target = node.attributes.get("to")
    if node.op_type == "Cast" and target is not None and target.as_int() == _FLOAT:
        node.attributes["to"] = ir.AttrInt64("to", int(_HALF))
    constant = node.attributes.get("value")
    if constant is not None and constant.type == ir.AttributeType.TENSOR:
        tensor = constant.as_tensor()
        if tensor.dtype == _FLOAT:
            node.attributes["value"] = ir.AttrTensor("value", ir.tensor(_half(tensor.numpy())))


def _cast_input(graph: ir.Graph, value: ir.Value) -> None:
    users = list(value.uses())
    cast = ir.node("Cast", [value], {"to": int(_HALF)}, name=f"{value.name}_half")
    cast.outputs[0].dtype, cast.outputs[0].shape = _HALF, value.shape
    cast.outputs[0].name = f"{value.name}_half"
    for use in users:
        use.node.replace_input_with(use.idx, cast.outputs[0])
    graph.insert_before(graph[0], cast) if len(graph) else graph.append(cast)


def _cast_output(graph: ir.Graph, place: int, value: ir.Value) -> None:
    name, value.name = value.name, f"{value.name}_half"
    value.dtype = _HALF
    cast = ir.node("Cast", [value], {"to": int(_FLOAT)}, name=f"{name}_float")
    out = cast.outputs[0]
    out.name, out.dtype, out.shape = name, _FLOAT, value.shape
    graph.append(cast)
    graph.outputs[place] = out
