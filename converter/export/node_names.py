"""Meaningful, stable names: every node and weight is named after its Keras layer.

tf2onnx numbers what it creates with a counter of the process, so the same model would get
different names, and different bytes, on every export.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from types import MappingProxyType

import onnx_ir as ir

from converter.export.tracing.layer_scopes import layer_of
from runtimes.keras_models.scope_names import from_scope
from runtimes.onnx_graph.layer_names import LAYER_KEY

_MULTIPLYING = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})


def name_after_layers(
    model: ir.Model, layers: Set[str], merged: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Write each node's layer path into its metadata and rename everything inside, in place.

    ``layers`` are the paths with which the operators' scoped names begin. Names of inputs and
    outputs stay the same. A node and its output are called ``<layer>/<operator>``, an initializer
    ``<node>/<formal input>``, such as ``block_1/conv/Conv/W``, and the body of a loop
    ``<node>/body``. ``merged``: the layer before each that may have been folded into it; a
    convolution into which its normalization was fused is the convolution.
    """
    nodes = list(ir.traversal.RecursiveGraphIterator(model.graph))
    _find_layers(nodes, layers)
    _unmerge(nodes, {from_scope(own): from_scope(before) for own, before in merged.items()})
    taken = {str(value.name) for value in (*model.graph.inputs, *model.graph.outputs)}
    fixed = {id(value) for value in (*model.graph.inputs, *model.graph.outputs)}
    used: dict[str, int] = {}

    def unique(wanted: str) -> str:
        while True:
            count = used.get(wanted, 0)
            used[wanted] = count + 1
            name = wanted if count == 0 else f"{wanted}_{count}"
            if name not in taken:
                taken.add(name)
                return name

    _make_way(model, nodes, fixed)
    for node in nodes:
        layer = node.metadata_props.get(LAYER_KEY)
        node.name = unique(f"{layer}/{node.op_type}" if layer else node.op_type)
        for index, value in enumerate(node.outputs):
            if id(value) not in fixed and value.name:
                value.name = node.name if index == 0 else unique(f"{node.name}:{index}")
        for index, source in enumerate(node.inputs):
            if source is None or id(source) in fixed or not source.is_initializer():
                continue
            fixed.add(id(source))
            source.name = unique(f"{node.name}/{_formal_input(node, index, model)}")
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                attribute.as_graph().name = f"{node.name}/{attribute.name}"
    for graph in model.graphs():
        for index, value in enumerate(graph.inputs):
            if id(value) not in fixed:
                value.name = unique(f"{graph.name or 'body'}/input_{index}")


def _make_way(model: ir.Model, nodes: list[ir.Node], fixed: set[int]) -> None:
    """Give everything a temporary name, so that new names do not clash with old ones."""
    for index, value in enumerate(_inner_values(model, nodes)):
        if id(value) not in fixed and value.name:
            value.name = f"kilnx:renaming:{index}"


def _inner_values(model: ir.Model, nodes: list[ir.Node]) -> Iterator[ir.Value]:
    for node in nodes:
        yield from node.outputs
    for graph in model.graphs():
        yield from list(graph.initializers.values())
        if graph is not model.graph:
            yield from graph.inputs


def _find_layers(nodes: list[ir.Node], layers: Set[str]) -> None:
    """Find layers by the node's own name, or else its weights' names, or else its neighbours."""
    for node in nodes:
        names = [node.name, *(v.name for v in node.inputs if v is not None and v.is_initializer())]
        found = (layer_of(name, layers) for name in names if name)
        layer = next((path for path in found if path is not None), None)
        if layer is not None:
            node.metadata_props[LAYER_KEY] = from_scope(layer)
    for node in nodes:
        producers = (v.producer() for v in node.inputs if v is not None)
        _inherit(node, [p for p in producers if p is not None])
    for node in reversed(nodes):
        _inherit(node, [user for value in node.outputs for user, _ in value.uses()])


def _unmerge(nodes: list[ir.Node], merged: Mapping[str, str]) -> None:
    """Call what multiplies after the layer that has the weights, not after its normalization."""
    claimed = {node.metadata_props.get(LAYER_KEY) for node in nodes if node.op_type in _MULTIPLYING}
    renamed = {own: before for own, before in merged.items() if own in claimed}
    for node in nodes:
        before = renamed.get(node.metadata_props.get(LAYER_KEY, ""))
        if before is not None and before not in claimed:
            node.metadata_props[LAYER_KEY] = before


def _inherit(node: ir.Node, neighbours: list[ir.Node]) -> None:
    if LAYER_KEY in node.metadata_props:
        return
    for neighbour in neighbours:
        layer = neighbour.metadata_props.get(LAYER_KEY)
        if layer is not None:
            node.metadata_props[LAYER_KEY] = layer
            return


def _formal_input(node: ir.Node, index: int, model: ir.Model) -> str:
    """The input's name in the ONNX specification, or its position if it has none."""
    import onnx.defs

    version = model.opset_imports.get(node.domain)
    try:
        schema = onnx.defs.get_schema(node.op_type, version or 1, node.domain)
    except onnx.defs.SchemaError:
        return f"input_{index}"
    inputs = schema.inputs
    return inputs[index].name if index < len(inputs) else f"{inputs[-1].name}_{index}"
