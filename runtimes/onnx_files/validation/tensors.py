"""Whether a tensor holds as many bytes as its shape needs.

https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, TensorProto
"""

from __future__ import annotations

import math
from typing import Any

import onnx_ir as ir

from runtimes.onnx_files.validation.invalid import (
    InvalidModel,
    check_entries,
    check_text,
    shown,
)

_EXTERNAL = 1
_MOST_ELEMENTS = 2**62
_INT32_TYPES = frozenset(
    {
        ir.DataType.INT32,
        ir.DataType.INT16,
        ir.DataType.INT8,
        ir.DataType.UINT16,
        ir.DataType.UINT8,
        ir.DataType.BOOL,
        ir.DataType.FLOAT16,
        ir.DataType.BFLOAT16,
    }
)
_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")


def check_tensor(tensor: Any, where: str) -> None:
    """Raise ``InvalidModel`` unless a TensorProto holds what its type and shape say."""
    check_text(tensor, "name", "doc_string")
    check_entries((*tensor.external_data, *tensor.metadata_props))
    where = f"{where} {shown(tensor.name)}" if tensor.name else where
    dtype = element_type(tensor.data_type, where)
    if any(dim < 0 for dim in tensor.dims):
        raise InvalidModel(f"{where} has the impossible shape {list(tensor.dims)}")
    elements = math.prod(tensor.dims)
    if elements > _MOST_ELEMENTS or len(tensor.dims) > 64:
        raise InvalidModel(f"{where} has the impossible shape {list(tensor.dims)}")
    if tensor.HasField("segment"):
        raise InvalidModel(f"{where} is stored in segments, which no runtime reads")
    if tensor.data_location == _EXTERNAL:
        _check_location(tensor, where)
        return
    filled = [name for name in _FIELDS if len(getattr(tensor, name))]
    if tensor.HasField("raw_data"):
        filled.append("raw_data")
    if len(filled) > 1:
        raise InvalidModel(f"{where} has its values twice, as {' and as '.join(filled)}")
    if not filled:
        if elements:
            raise InvalidModel(f"{where} has no values, and a shape of {elements}")
        return
    _check_size(tensor, dtype, elements, filled[0], where)


def element_type(number: int, where: str) -> ir.DataType:
    """The element type of a number in a file."""
    try:
        dtype = ir.DataType(number)
    except ValueError:
        dtype = ir.DataType.UNDEFINED
    if dtype == ir.DataType.UNDEFINED:
        raise InvalidModel(f"{where} has the element type {number}, which ONNX does not have")
    return dtype


def _check_size(tensor: Any, dtype: ir.DataType, elements: int, field: str, where: str) -> None:
    if field == "raw_data":
        if dtype == ir.DataType.STRING:
            raise InvalidModel(f"{where} holds text as raw bytes")
        found, needed = len(tensor.raw_data), math.ceil(elements * dtype.bitwidth / 8)
    else:
        found, needed = len(getattr(tensor, field)), elements * _values_each(dtype)
        if field != _field_of(dtype):
            raise InvalidModel(f"{where} is {dtype.name} and has its values in {field}")
        if dtype != ir.DataType.STRING and dtype.bitwidth < 8:
            needed = math.ceil(elements * dtype.bitwidth / 8)
    if found != needed:
        unit = "bytes" if field == "raw_data" else "values"
        raise InvalidModel(
            f"{where} holds {found} {unit}, and its shape {list(tensor.dims)} needs {needed}"
        )


def _values_each(dtype: ir.DataType) -> int:
    return 2 if dtype in {ir.DataType.COMPLEX64, ir.DataType.COMPLEX128} else 1


def _field_of(dtype: ir.DataType) -> str:
    if dtype in {ir.DataType.FLOAT, ir.DataType.COMPLEX64}:
        return "float_data"
    if dtype in {ir.DataType.DOUBLE, ir.DataType.COMPLEX128}:
        return "double_data"
    if dtype == ir.DataType.INT64:
        return "int64_data"
    if dtype in {ir.DataType.UINT32, ir.DataType.UINT64}:
        return "uint64_data"
    if dtype == ir.DataType.STRING:
        return "string_data"
    return "int32_data" if dtype in _INT32_TYPES or dtype.bitwidth <= 8 else "raw_data"


def _check_location(tensor: Any, where: str) -> None:
    """What external data say of themselves; whether they are there is checked with the files."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if tensor.data_type == ir.DataType.STRING:
        raise InvalidModel(f"{where} is text in external data, which ONNX does not have")
    if not entries.get("location"):
        raise InvalidModel(f"{where} is in external data without saying in which file")
    for key in ("offset", "length"):
        number = entries.get(key, "0")
        if not (number.isascii() and number.isdigit() and len(number) < 20):
            raise InvalidModel(f"{where} has the {key} {shown(number)} in external data")
