"""The sizes of all values of a graph whose input sizes are fixed, by ONNX's own inference."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from runtimes.engines.fixed_sizes import Sizes, with_sizes
from runtimes.onnx_graph.values import shape_of

_MOST_VALUES = 1024
"""Larger constants are no shapes or axes: inference need not read them."""


def with_recorded_sizes(model: ir.Model, sizes: Sizes) -> ir.Model:
    """A copy (weights shared) with input sizes ``sizes`` that records the shapes of its values.

    What ONNX cannot infer stays unknown.
    """
    import onnx

    copy = with_sizes(model, sizes)
    try:
        inferred = onnx.shape_inference.infer_shapes(_without_weights(copy), data_prop=True)
    except Exception:  # an operator that nobody defines, or one that does not fit
        return copy
    shapes = {
        value.name: [dim.dim_value or None for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.graph.value_info, *inferred.graph.output)
        if value.type.tensor_type.HasField("shape")
    }
    for node in copy.graph:
        for value in node.outputs:
            if value.name in shapes:
                value.shape = ir.Shape(shapes[value.name])
    return copy


def _without_weights(model: ir.Model) -> Any:
    """The model as a message in which large constants are inputs."""
    light = model.clone()
    graph = light.graph
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        if tensor is not None and tensor.size > _MOST_VALUES:
            del graph.initializers[name]
            value.const_value = None
            value.shape, value.type = ir.Shape(shape_of(tensor)), ir.TensorType(tensor.dtype)
            graph.inputs.append(value)
    return ir.to_proto(light)
