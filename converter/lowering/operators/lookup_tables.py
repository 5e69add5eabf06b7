"""Lookup tables, and comparing strings, as LabelEncoder of ONNX's ai.onnx.ml domain.

https://onnx.ai/onnx/operators/onnx_aionnxml_LabelEncoder.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from converter.lowering.builder import Builder
from converter.lowering.operators.base import OperatorLowering, UnsupportedLowering

_STRING, _INT64 = 8, 7
_KINDS = {_STRING: "strings", _INT64: "int64s"}
_COMPARABLE = {1, 6, 7, 9, 11}  # float, int32, int64, bool and double, on the CPU since opset 7

Table = tuple[Any, Any]
"""Keys and values, two arrays of one length; strings are ``bytes``."""


def find(tables: Mapping[str, Table]) -> OperatorLowering:
    """LookupTableFindV2 on the tables that the trace has read, by shared name."""

    def lower(build: Builder, node: Any) -> Sequence[str]:
        _, keys, _ = node.input
        default = node.inputs[2]
        table = _table(node, tables)
        kinds = build.dtype(keys), build.dtype(node.output[0])
        if not default.is_const():
            raise UnsupportedLowering(
                node, "the value for what is not in its table is not a constant"
            )
        if not set(kinds) <= set(_KINDS):
            raise UnsupportedLowering(
                node, "ONNX has lookup tables of strings and 64-bit integers only"
            )
        value = default.get_tensor_value(as_list=False).reshape(-1)[:1]
        return [_encoded(build, node, keys, kinds=kinds, table=table, default=value)]

    return lower


def size(tables: Mapping[str, Table]) -> OperatorLowering:
    """LookupTableSizeV2: a constant."""

    def lower(build: Builder, node: Any) -> Sequence[str]:
        return [build.constant(len(_table(node, tables)[0]))]

    return lower


def equal(build: Builder, node: Any) -> Sequence[str]:
    """Equal, also of strings with a constant: ONNX compares strings only from opset 19 on."""
    a, b = node.input
    if build.dtype(a) != _STRING:
        if build.dtype(a) not in _COMPARABLE:
            wider = _wider(build.dtype(a))
            a, b = (build.op("Cast", tensor, to=wider) for tensor in (a, b))
        return [build.op("Equal", a, b)]
    if build.opset >= 19:
        return [build.op("Equal", a, b)]
    for tensor, other in ((a, node.inputs[1]), (b, node.inputs[0])):
        if other.is_const() and other.get_tensor_value(as_list=False).size == 1:
            key = other.get_tensor_value(as_list=False).reshape(-1)
            hit = (key, np.array([1]))
            found = _encoded(
                build, node, tensor, kinds=(_STRING, _INT64), table=hit, default=np.array([0])
            )
            return [build.op("Cast", found, to=9)]
    raise UnsupportedLowering(node, "two tensors of strings can be compared from opset 19 on")


def not_equal(build: Builder, node: Any) -> Sequence[str]:
    """The contrary of ``equal``."""
    return [build.op("Not", equal(build, node)[0])]


def _encoded(
    build: Builder, node: Any, tensor: str, *, kinds: tuple[int, int], table: Table, default: Any
) -> str:
    keys, values = (_plain(node, part) for part in table)
    source, target = (_KINDS[kind] for kind in kinds)
    attributes: dict[str, Any] = {
        f"keys_{source}": keys,
        f"values_{target}": values,
        # LabelEncoder names its defaults in the singular.
        f"default_{target[:-1]}": _plain(node, default)[0],
    }
    return build.ml_op("LabelEncoder", tensor, kinds[1], **attributes)


def _table(node: Any, tables: Mapping[str, Table]) -> Table:
    source = node.inputs[0]
    while source.type == "Identity":
        source = source.inputs[0]
    name = source.get_attr_value("shared_name") if source.type == "HashTableV2" else None
    table = tables.get(name.decode() if isinstance(name, bytes) else str(name))
    if table is None:
        raise UnsupportedLowering(
            node, "the contents of its table are not known when it is exported"
        )
    return table


def _plain(node: Any, array: Any) -> list[Any]:
    """Python values; strings as text, which is what ONNX holds."""
    try:
        return [
            value.decode() if isinstance(value, bytes) else value
            for value in np.asarray(array).reshape(-1).tolist()
        ]
    except UnicodeDecodeError as error:
        raise UnsupportedLowering(node, "its table holds bytes that are not UTF-8 text") from error


def _wider(dtype: int) -> int:
    """An element type that holds every value of ``dtype`` and that can be compared."""
    unsigned_64 = 13
    if dtype == unsigned_64:
        return _INT64  # of one size, and equality does not care about the sign
    return 1 if dtype in (10, 16) else _INT64
