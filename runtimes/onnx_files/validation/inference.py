"""Whether types and shapes go together, by ONNX's own inference, as runtimes have it too.

https://onnx.ai/onnx/repo-docs/ShapeInference.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from runtimes.onnx_files.validation.attributes import schema_of
from runtimes.onnx_files.validation.invalid import InvalidModel
from runtimes.onnx_files.validation.scopes import graphs_of, order_of

_MOST_VALUES = 1024
_EXTERNAL = 1
# A domain that nobody defines: its operators are passed over.
_UNCHECKED = "kilnx.unchecked"


def check_inference(proto: Any, values_of: Callable[[Any], bytes | None]) -> None:
    """Raise ``InvalidModel`` where an operator cannot take what it gets.

    What the file says of values inside is left out: runtimes find it anew, and may differ from it.
    ``values_of`` reads a small tensor that lies in external data. ``proto`` is used up: changed.
    """
    import onnx

    versions = {entry.domain: entry.version for entry in proto.opset_import}
    proto.opset_import.add(domain=_UNCHECKED, version=1)
    for graph in _graphs(proto.graph):
        del graph.value_info[:]
        for output in graph.output:
            if output.type.HasField("tensor_type"):
                output.type.tensor_type.ClearField("shape")
        for tensor in graph.initializer:
            _take_in(tensor, values_of)
        _sort(graph)
        for node in graph.node:
            if _is_function_only(node, versions.get(node.domain, 0)):
                node.domain = _UNCHECKED
    try:
        onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
    except Exception as error:
        raise InvalidModel(_reason(error)) from error


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
