"""Models of float16 computed in float32, and weights that stay float stored in float16 again.

ONNX Runtime computes most of float16 in float32 on CPUs, with conversions around every operator,
and its INT8 kernels give float32.
"""

from __future__ import annotations

from itertools import chain, count

import numpy as np
import onnx_ir as ir

from runtimes.onnx_graph.rewrite import Refuse, RewritePass
from runtimes.onnx_graph.values import (
    Names,
    add_initializer,
    all_nodes,
    constant,
    drop_if_unused,
    is_op,
    replace_value,
)

_WAS_HALF = "kilnx.float16"

# Below this the node that widens costs more bytes than it saves.
_SMALLEST = 1024


class WidenHalf(RewritePass):
    """Compute in float32 what is computed or stored in float16; the interface keeps its types.

    Left alone: float16 at the interface only, and models with functions.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Widen the main graph and its subgraphs."""
        if model.functions or not _has_half(model):
            return False
        for graph in model.graphs():
            _widen_initializers(graph)
        nodes = list(all_nodes(model))
        for node in nodes:
            _widen_node(node)
        _cast_interface(model.graph)
        for node in nodes:
            _remove_idle_cast(node)
        return True


def store_half(model: ir.Model) -> ir.Model:
    """Store what ``WidenHalf`` widened, and is float32 still, in float16; gives ``model`` back."""
    for graph in model.graphs():
        for value in tuple(graph.initializers.values()):
            wide = constant(value) if value.meta.get(_WAS_HALF) else None
            if wide is not None and wide.nbytes >= _SMALLEST and not value.is_graph_output():
                _store_half(graph, value)
    return model


def _has_half(model: ir.Model) -> bool:
    stored = any(
        _is_half(value) for graph in model.graphs() for value in graph.initializers.values()
    )
    computed = (
        value for node in all_nodes(model) if not is_op(node, "Cast") for value in node.outputs
    )
    return stored or any(map(_is_half, computed))


def _is_half(value: ir.Value) -> bool:
    return value.dtype == ir.DataType.FLOAT16


def _widen_initializers(graph: ir.Graph) -> None:
    for value in graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and tensor.dtype == ir.DataType.FLOAT16:
            value.const_value = _widened(tensor, value.name)
            value.type = ir.TensorType(ir.DataType.FLOAT)
            value.meta[_WAS_HALF] = True


def _widened(tensor: ir.TensorProtocol, name: str | None) -> ir.TensorProtocol:
    return ir.tensor(tensor.numpy().astype(np.float32), name=name)


def _widen_node(node: ir.Node) -> None:
    for name, attribute in tuple(node.attributes.items()):
        if attribute.type == ir.AttributeType.INT and name in ("to", "dtype"):
            if attribute.as_int() == ir.DataType.FLOAT16:
                node.attributes.add(ir.AttrInt64(name, int(ir.DataType.FLOAT)))
        elif attribute.type == ir.AttributeType.TENSOR:
            tensor = attribute.as_tensor()
            if tensor.dtype == ir.DataType.FLOAT16:
                node.attributes.add(ir.AttrTensor(name, _widened(tensor, tensor.name)))
        elif attribute.type == ir.AttributeType.GRAPH:
            for value in attribute.as_graph().inputs:
                _widen_type(value)
    for value in node.outputs:
        _widen_type(value)


def _widen_type(value: ir.Value) -> None:
    if _is_half(value):
        value.type = ir.TensorType(ir.DataType.FLOAT)  # clones share the old one
        value.meta[_WAS_HALF] = True


def _cast_interface(graph: ir.Graph) -> None:
    """Casts where float16 comes in and goes out."""
    names = Names(graph)
    for index, value in enumerate(graph.outputs):
        # An output that a node gives was float16 if its type has just been widened.
        producer = value.producer()
        if producer is not None and value.meta.get(_WAS_HALF):
            name, value.name = value.name, names.take(f"{value.name}_wide")
            cast = _cast(value, ir.DataType.FLOAT16, str(name))
            cast.name = _free_node_name(graph, str(name))
            graph.append(cast)
            graph.outputs[index] = cast.outputs[0]
    for value in graph.inputs:
        if _is_half(value) and value.uses():
            uses = list(value.uses())
            cast = _cast(value, ir.DataType.FLOAT, names.take(f"{value.name}_wide"))
            for use in uses:
                use.node.replace_input_with(use.idx, cast.outputs[0])
            graph.insert_before(graph[0], cast)


def _cast(value: ir.Value, to: ir.DataType, name: str) -> ir.Node:
    result = ir.Value(name=name, type=ir.TensorType(to), shape=value.shape)
    return ir.Node("", "Cast", [value], [ir.AttrInt64("to", int(to))], outputs=[result], name=name)


def _free_node_name(graph: ir.Graph, base: str) -> str:
    """The node that gave the output before may be called as the output is."""
    taken = {node.name for node in graph}
    return next(n for n in chain([base], (f"{base}_half_{k}" for k in count())) if n not in taken)


def _remove_idle_cast(node: ir.Node) -> None:
    """Take a Cast out that has nothing to convert any more."""
    source = node.inputs[0] if is_op(node, "Cast") else None
    wide = source is not None and source.dtype == ir.DataType.FLOAT
    if source is None or not wide or node.attributes.get_int("to", 0) != ir.DataType.FLOAT:
        return
    result, graph = node.outputs[0], node.graph
    if graph is None or result.is_graph_output():
        return
    replace_value(result, source)
    graph.remove(node, safe=True)


def _store_half(graph: ir.Graph, value: ir.Value) -> None:
    wide = constant(value)
    assert wide is not None
    with np.errstate(over="ignore"):
        half = wide.astype(np.float16)
    if not np.array_equal(half.astype(np.float32), wide, equal_nan=True):
        return  # it was changed since
    stored = add_initializer(graph, f"{value.name}_half", half)
    cast = _cast(stored, ir.DataType.FLOAT, Names(graph).take(f"{value.name}_wide"))
    value.replace_all_uses_with(cast.outputs[0])
    graph.insert_before(graph[0], cast)
    drop_if_unused([value])
