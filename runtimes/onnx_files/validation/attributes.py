"""Whether the attributes, inputs and outputs of a node are those of its operator.

https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from runtimes.onnx_files.validation.invalid import (
    InvalidModel,
    check_entries,
    check_text,
    node_name,
    shown,
)
from runtimes.onnx_files.validation.tensors import check_tensor

# AttributeProto: types by number, and the field that holds the value of each.
_KINDS = {
    1: ("FLOAT", "f"),
    2: ("INT", "i"),
    3: ("STRING", "s"),
    4: ("TENSOR", "t"),
    5: ("GRAPH", "g"),
    6: ("FLOATS", "floats"),
    7: ("INTS", "ints"),
    8: ("STRINGS", "strings"),
    9: ("TENSORS", "tensors"),
    10: ("GRAPHS", "graphs"),
    11: ("SPARSE_TENSOR", "sparse_tensor"),
    12: ("SPARSE_TENSORS", "sparse_tensors"),
    13: ("TYPE_PROTO", "tp"),
    14: ("TYPE_PROTOS", "type_protos"),
}
_FIELDS = [field for _, field in _KINDS.values()]
_LISTS = {field for name, field in _KINDS.values() if name.endswith("S")}


def check_attributes(node: Any, check_graph: Callable[[Any], None], *, in_function: bool) -> None:
    """Raise ``InvalidModel`` for an attribute that is not what its type says.

    ``check_graph`` checks the graphs among them. Only a function's nodes may refer to attributes.
    """
    seen = set()
    check_text(node, "name", "op_type", "domain", "overload", "doc_string", "input", "output")
    check_entries(node.metadata_props)
    for attribute in node.attribute:
        check_text(attribute, "name", "ref_attr_name", "doc_string")
        where = f"the attribute {shown(attribute.name)} of {node_name(node)}"
        if not attribute.name or attribute.name in seen:
            raise InvalidModel(f"{where} has no name, or one that another one has")
        seen.add(attribute.name)
        if attribute.ref_attr_name:
            if not in_function:
                raise InvalidModel(f"{where} refers to one of a function, and is in none")
            continue
        _, field = _KINDS.get(attribute.type, ("", ""))
        filled = [name for name in _FIELDS if _is_filled(attribute, name)]
        if not field or any(name != field for name in filled):
            raise InvalidModel(f"{where} is not of the type that it says")
        if not filled and field not in _LISTS:
            raise InvalidModel(f"{where} has no value")
        for tensor in _tensors(attribute):
            check_tensor(tensor, f"the tensor in {where}")
        if field in {"sparse_tensor", "sparse_tensors"}:
            raise InvalidModel(f"{where} is a sparse tensor; save it dense")
        for graph in (*([attribute.g] if field == "g" else []), *attribute.graphs):
            check_graph(graph)


def check_against_schema(node: Any, versions: Mapping[str, int]) -> None:
    """Raise ``InvalidModel`` where a node is not what ONNX's schema of its operator wants.

    Operators that ONNX does not define are left to the runtime that does.
    """
    domain = "" if node.domain == "ai.onnx" else node.domain
    schema = schema_of(node.op_type, domain, versions[domain])
    if schema is None:
        return
    where = node_name(node)
    given = {attribute.name: attribute for attribute in node.attribute}
    for name, attribute in given.items():
        known = schema.attributes.get(name)
        if known is None:
            raise InvalidModel(
                f"{where} has no attribute {shown(name)} in opset {versions[domain]}"
            )
        wanted = known.type.value
        if attribute.type not in {0, wanted} and not attribute.ref_attr_name:
            raise InvalidModel(
                f"the attribute {shown(name)} of {where} is {_KINDS[attribute.type][0]} and has "
                f"to be {_KINDS[wanted][0]}"
            )
    missing = [n for n, a in schema.attributes.items() if a.required and n not in given]
    if missing:
        raise InvalidModel(f"{where} lacks its attribute {missing[0]!r}")
    for kind, values, least, most in (
        ("inputs", node.input, schema.min_input, schema.max_input),
        ("outputs", node.output, schema.min_output, schema.max_output),
    ):
        if not least <= len(values) <= most:
            wanted_count = f"{least}" if least == most else f"{least} to {most}"
            raise InvalidModel(f"{where} has {len(values)} {kind}, and takes {wanted_count}")
    for parameter, value in zip(schema.inputs, node.input, strict=False):
        if not value and parameter.option.name == "Single":
            raise InvalidModel(f"{where} lacks its input {parameter.name!r}")


@lru_cache(maxsize=4096)
def schema_of(operator: str, domain: str, version: int) -> Any:
    """What ONNX says of an operator; None for one that it does not define."""
    import onnx.defs

    try:
        return onnx.defs.get_schema(operator, version, domain)
    except onnx.defs.SchemaError:
        return None


def _is_filled(attribute: Any, field: str) -> bool:
    value = getattr(attribute, field)
    return bool(len(value)) if field in _LISTS else bool(attribute.HasField(field))


def _tensors(attribute: Any) -> Iterator[Any]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
