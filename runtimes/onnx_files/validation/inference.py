"""Whether types and shapes go together, by ONNX's own inference, as runtimes have it too.

https://onnx.ai/onnx/repo-docs/ShapeInference.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from typing import Any

from runtimes.onnx_files.validation.attributes import schema_of
from runtimes.onnx_files.validation.invalid import InvalidModel
from runtimes.onnx_files.validation.scopes import graphs_of, order_of

_MOST_VALUES = 1024
_EXTERNAL = 1
# A domain that nobody defines: its operators are passed over.
_UNCHECKED = "kilnx.unchecked"


def check_inference(proto: Any, values_of: Callable[[Any], bytes | None]) -> dict[str, Any]:
    """Raise ``InvalidModel`` where an operator cannot take what it gets.

    What the file says of values inside is left out: runtimes find it anew, and may differ from it.
    Returned is, by name, the right type of those of the main graph for which it says another.
    ``values_of`` reads a small tensor that lies in external data. ``proto`` is used up: changed.
    """
    import onnx

    said = {value.name: _copy(value.type) for value in _described(proto.graph)}
    versions = {entry.domain: entry.version for entry in proto.opset_import}
    proto.opset_import.add(domain=_UNCHECKED, version=1)
    given = _given(proto.graph)
    for graph in _graphs(proto.graph):
        del graph.value_info[:]
        for output in graph.output:
            if graph is proto.graph and output.name in given:
                output.type.CopyFrom(given[output.name])
            elif output.type.HasField("tensor_type"):
                output.type.tensor_type.ClearField("shape")
        for tensor in graph.initializer:
            _take_in(tensor, values_of)
        _sort(graph)
        for node in graph.node:
            if _is_function_only(node, versions.get(node.domain, 0)):
                node.domain = _UNCHECKED
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
    except Exception as error:
        raise InvalidModel(_reason(error)) from error
    known = {**{value.name: value.type for value in _described(inferred.graph)}, **given}
    names = {dim.dim_param for value in proto.graph.input for dim in _dims(value.type)} - {""}
    return {
        name: known[name]
        for name, kind in said.items()
        if name in known and _contradicts(kind, known[name], names)
    }


def _given(graph: Any) -> dict[str, Any]:
    """The types of what no node makes."""
    import onnx

    tensors = {
        tensor.name: onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
        for tensor in graph.initializer
    }
    return tensors | {value.name: _copy(value.type) for value in graph.input}


def _described(graph: Any) -> Iterator[Any]:
    yield from graph.value_info
    yield from graph.output


def _copy(message: Any) -> Any:
    return type(message).FromString(message.SerializeToString())


def _dims(kind: Any) -> Any:
    return kind.tensor_type.shape.dim


def _contradicts(said: Any, known: Any, names: AbstractSet[str]) -> bool:
    """Whether the type ``said`` cannot be that of a value of the type ``known``.

    ``names``: of the dimensions of inputs, which no number may stand for. Others are made up.
    """
    if said.WhichOneof("value") != "tensor_type" or known.WhichOneof("value") != "tensor_type":
        return False
    one, other = said.tensor_type, known.tensor_type
    if one.elem_type != other.elem_type and one.elem_type and other.elem_type:
        return True
    if not (one.HasField("shape") and other.HasField("shape")):
        return False
    return len(_dims(said)) != len(_dims(known)) or any(
        mine.HasField("dim_value")
        and mine.dim_value >= 0
        and (
            mine.dim_value != own.dim_value if own.HasField("dim_value") else own.dim_param in names
        )
        for mine, own in zip(_dims(said), _dims(known), strict=True)
    )


def _graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for inner in graphs_of(node):
            yield from _graphs(inner)


def _sort(graph: Any) -> None:
    made = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
    order = order_of(graph.node, made)
    if order != list(range(len(order))):
        nodes = [type(node).FromString(node.SerializeToString()) for node in graph.node]
        del graph.node[:]
        graph.node.extend(nodes[place] for place in order)


def _is_function_only(node: Any, version: int) -> bool:
    """Whether ONNX would infer through an operator's definition, which fails for some valid ones.

    MeanVarianceNormalization without axes: its definition holds a Constant of an attribute.
    """
    schema = schema_of(node.op_type, node.domain, version)
    return (
        schema is not None
        and schema.has_function
        and not schema.has_type_and_shape_inference_function
    )


def _take_in(tensor: Any, values_of: Callable[[Any], bytes | None]) -> None:
    """Shapes, axes and the like may be computed with: they have to be in the message."""
    if tensor.data_location != _EXTERNAL or math.prod(tensor.dims) > _MOST_VALUES:
        return
    raw = values_of(tensor)
    if raw is not None:
        tensor.raw_data = raw
        del tensor.external_data[:]
        tensor.ClearField("data_location")


def _reason(error: Exception) -> str:
    """ONNX's message in one line, without the places in its own source."""
    text = re.sub(r"\[\w+Error\]\s*|Inference error\(s\): ", "", str(error)).strip()
    text = re.sub(r"\s+", " ", text.partition("\n")[0])
    text = re.sub(r"\(op_type:\s*(\w+)(?:, node name: ([^)]*))?\):", r"node '\2' (\1):", text)
    return text[:400] or type(error).__name__
