"""Several graphs as one: equal weights once, equal computations once, all outputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from converter.passes.cleanup.common_subexpressions import MergeCommonSubexpressions
from runtimes.errors import DataError, ModelError
from runtimes.onnx_graph.opset import convert_opset
from runtimes.onnx_graph.values import Names, constant, drop_if_unused, opset


def join(models: Sequence[ir.Model]) -> ir.Model:
    """One graph that computes what ``models`` do, which stay as they are.

    Inputs of one name are one input. An output whose name another model has already gets the name
    of its graph in front. Raises ``DataError`` for no models at all, and ``ModelError`` where
    inputs of one name differ.
    """
    if not models:
        raise DataError("there are no models to share weights: give a list of two or more")
    newest = max(opset(model) for model in models)
    copies = [convert_opset(model.clone(), newest) for model in models]
    joined = copies[0]
    joined.graph.name = "_".join(str(one.graph.name or "model") for one in copies)
    for place, other in enumerate(copies[1:], start=2):
        _add(joined, other, place)
    _share_weights(joined.graph)
    MergeCommonSubexpressions()(joined)
    for value in list(joined.graph.initializers.values()):
        drop_if_unused([value])
    return joined


def _share_weights(graph: ir.Graph) -> None:
    """Make equal weights one; what holds one value only (biases of zero) is equal by chance."""
    known: dict[tuple[object, ...], ir.Value] = {}
    for value in list(graph.initializers.values()):
        array = constant(value)
        if array is None or array.size < 2 or np.all(array == array.flat[0]):
            continue
        first = known.setdefault((array.dtype.str, array.shape, array.tobytes()), value)
        if first is not value and not value.is_graph_output():
            value.replace_all_uses_with(first)


def _add(joined: ir.Model, other: ir.Model, place: int) -> None:
    graph, source = joined.graph, other.graph
    names = Names(graph)
    inputs = {str(value.name): value for value in graph.inputs}
    for value in list(source.inputs):
        known = inputs.get(str(value.name))
        if known is None:
            source.inputs.remove(value)
            names.take(str(value.name))
            graph.inputs.append(value)
            continue
        _require_same(known, value)
        value.replace_all_uses_with(known, replace_graph_outputs=True)
    for value in list(source.initializers.values()):
        source.initializers.pop(str(value.name))
        value.name = names.take(str(value.name))
        graph.register_initializer(value)
    outputs = list(source.outputs)
    source.outputs.clear()
    nodes = list(source)
    source.remove(nodes)
    for node in nodes:
        node.name = f"{node.name or node.op_type}_{place}"
        for value in node.outputs:
            if value in outputs:
                continue
            value.name = names.take(str(value.name))
    for value in outputs:
        if value.producer() is not None:
            value.name = _output_name(names, str(value.name), str(source.name or f"model{place}"))
    graph.extend(nodes)
    graph.outputs.extend(outputs)
    joined.opset_imports.update(other.opset_imports)


def _output_name(names: Names, name: str, model: str) -> str:
    found = names.take(name)
    if found == name:
        return name
    names.free(found)
    return names.take(f"{model}_{name}")


def _require_same(known: ir.Value, value: ir.Value) -> None:
    if known.dtype != value.dtype or str(known.shape) != str(value.shape):
        raise ModelError(
            f"the input {value.name!r} is {known.dtype} {known.shape} in one model and "
            f"{value.dtype} {value.shape} in another: inputs of one name must be alike"
        )
