"""The checks of a whole model, in order: its frame, its graphs, its functions, its types."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from runtimes.onnx_files.validation.attributes import check_against_schema, check_attributes
from runtimes.onnx_files.validation.invalid import (
    InvalidModel,
    check_entries,
    check_text,
    node_name,
    shown,
)
from runtimes.onnx_files.validation.scopes import check_scope, graphs_of
from runtimes.onnx_files.validation.tensors import check_tensor, element_type

__all__ = ["InvalidModel", "validate"]

_MOST_NESTED = 20


def validate(proto: Any) -> None:
    """Raise ``InvalidModel`` unless all parts of a ModelProto are there and agree.

    Its weights may be in external data: whether those exist is not looked at, nor whether the
    operators can take what they get (``check_inference``).
    """
    check_text(proto, "producer_name", "producer_version", "domain", "doc_string")
    check_entries(proto.metadata_props)
    graph = proto.graph
    if not graph.output:
        raise InvalidModel("it has no output")
    versions = _versions(proto.opset_import)
    local = {(function.domain, function.name) for function in proto.functions}
    check = _Checks(versions, local)
    if graph.sparse_initializer:
        raise InvalidModel("it has sparse tensors; save them dense")
    check.graph(graph, frozenset(), depth=0)
    _refuse_no_samples(graph)
    for function in proto.functions:
        _check_function(function, local)
    _refuse_recursion(proto.functions)


class _Checks:
    """The checks that need to know what the whole model defines."""

    def __init__(self, versions: Mapping[str, int], local: AbstractSet[tuple[str, str]]) -> None:
        self.versions, self.local = versions, local

    def graph(
        self, graph: Any, outer: AbstractSet[str], *, depth: int, in_function: bool = False
    ) -> None:
        """Check a graph and those inside its nodes."""
        if depth > _MOST_NESTED:
            raise InvalidModel(f"more than {_MOST_NESTED} graphs lie inside each other")
        check_text(graph, "name", "doc_string")
        check_entries(graph.metadata_props)
        for value in (*graph.input, *graph.output, *graph.value_info):
            _check_value(value)
        for tensor in graph.initializer:
            check_tensor(tensor, "the tensor")
        inputs = [value.name for value in graph.input]
        tensors = [tensor.name for tensor in graph.initializer]
        if len(set(tensors)) != len(tensors):
            raise InvalidModel("two tensors have one name")
        given = [*inputs, *(name for name in tensors if name not in set(inputs))]
        wanted = [value.name for value in graph.output]
        known = check_scope(graph.node, given, wanted, outer)
        self.nodes(graph.node, known, depth=depth, in_function=in_function)

    def nodes(self, nodes: Any, known: AbstractSet[str], *, depth: int, in_function: bool) -> None:
        """Check the attributes of nodes, the graphs among them, and their operators."""
        for node in nodes:
            if not node.op_type:
                raise InvalidModel(f"{node_name(node)} has no operator")
            domain = "" if node.domain == "ai.onnx" else node.domain
            if domain not in self.versions:
                raise InvalidModel(
                    f"{node_name(node)} is of the domain {shown(domain)}, of which the model "
                    "names no version"
                )
            check_attributes(
                node,
                lambda inner: self.graph(inner, known, depth=depth + 1, in_function=in_function),
                in_function=in_function,
            )
            if (node.domain, node.op_type) not in self.local:
                check_against_schema(node, self.versions)


def _versions(imports: Any) -> dict[str, int]:
    import onnx.defs

    versions: dict[str, int] = {}
    for entry in imports:
        check_text(entry, "domain")
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        newest = onnx.defs.onnx_opset_version() if not domain else None
        if domain in versions or entry.version < 1:
            raise InvalidModel(f"the operators of {shown(domain)} have no version, or two")
        if newest is not None and entry.version > newest:
            raise InvalidModel(
                f"it uses opset {entry.version}, and the newest that is known here is {newest}; "
                "update onnx"
            )
        versions[domain] = entry.version
    return versions


def _check_value(value: Any) -> None:
    """An input or output: what it says of its type and shape has to be possible."""
    check_text(value, "name", "doc_string")
    check_entries(value.metadata_props)
    where = f"the value {shown(value.name)}"
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        return  # sequences and the like are refused by name where tensors are needed
    tensor = value.type.tensor_type
    element_type(tensor.elem_type, where)
    for dim in tensor.shape.dim:
        check_text(dim, "dim_param", "denotation")
        if dim.HasField("dim_value") and dim.dim_value < -1:
            raise InvalidModel(f"{where} has a dimension of {dim.dim_value}")


def _refuse_no_samples(graph: Any) -> None:
    tensors = {tensor.name for tensor in graph.initializer}
    for value in graph.input:
        first = next(iter(value.type.tensor_type.shape.dim), None)
        if first is None or value.name in tensors or not first.HasField("dim_value"):
            continue
        if first.dim_value == 0:
            raise InvalidModel(
                f"its input {shown(value.name)} takes 0 samples; a batch of any size is written "
                "as a name or as -1"
            )


def _check_function(function: Any, local: AbstractSet[tuple[str, str]]) -> None:
    check_text(function, "name", "domain", "overload", "doc_string", "input", "output", "attribute")
    name = shown(function.name)
    if not function.name:
        raise InvalidModel("a function has no name")
    versions = _versions(function.opset_import)
    try:
        known = check_scope(function.node, function.input, function.output, frozenset())
        check = _Checks(versions, local)
        check.nodes(function.node, known, depth=0, in_function=True)
    except InvalidModel as error:
        raise InvalidModel(f"in the function {name}, {error}") from error


def _refuse_recursion(functions: Any) -> None:
    """Functions that call each other in a circle could never be put in place of their calls."""
    calls = {
        (function.domain, function.name): set(_operators(function.node)) for function in functions
    }
    if len(calls) != len(functions):
        raise InvalidModel("two functions have one name")
    done: set[tuple[str, str]] = set()
    while True:
        ready = [key for key in calls.keys() - done if calls[key] & calls.keys() <= done]
        if not ready:
            break
        done.update(ready)
    if done != calls.keys():
        raise InvalidModel(f"the function {shown(min(calls.keys() - done)[1])} calls itself")


def _operators(nodes: Any) -> Any:
    for node in nodes:
        yield node.domain, node.op_type
        for graph in graphs_of(node):
            yield from _operators(graph.node)
