"""The protocol's bytes and JSON, an element at a time, from its text alone: slow, independent."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FORMATS = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
DATATYPES = (*FORMATS, "BF16", "BYTES")


@dataclass(frozen=True)
class Sent:
    """A tensor: its elements as Python has them, in row-major order."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: list[Any]
    binary: bool = True


def element_bytes(datatype: str, value: Any) -> bytes:
    """One element in binary data."""
    if datatype == "BYTES":
        return len(value).to_bytes(4, "little") + value
    if datatype == "BF16":
        return bfloat16_bits(value).to_bytes(2, "little")
    return struct.pack("<" + FORMATS[datatype], value)


def element_value(datatype: str, data: bytes) -> Any:
    """One element from binary data; of BYTES without its length."""
    if datatype == "BYTES":
        return data
    if datatype == "BF16":
        return struct.unpack("<f", b"\0\0" + data)[0]
    return struct.unpack("<" + FORMATS[datatype], data)[0]


def bfloat16_bits(value: float) -> int:
    """The upper half of a float, rounded to the nearest even one."""
    bits = int.from_bytes(struct.pack("<f", value), "little")
    if math.isnan(value):
        return 0x7FC0
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def size_of(datatype: str) -> int:
    """Bytes of one element."""
    return 2 if datatype == "BF16" else struct.calcsize("<" + FORMATS[datatype])


def nested(values: Sequence[Any], shape: Sequence[int]) -> Any:
    """The elements as lists in lists."""
    if not shape:
        return values[0]
    step = math.prod(shape[1:])
    return [nested(values[row * step : (row + 1) * step], shape[1:]) for row in range(shape[0])]


def request_body(
    tensors: Sequence[Sent], *, nest: bool = False, **more: Any
) -> tuple[bytes, int | None]:
    """The body of a request and its ``Inference-Header-Content-Length``."""
    inputs, tail, binary = [], b"", False
    for tensor in tensors:
        document: dict[str, Any] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
        }
        if tensor.binary:
            data = b"".join(element_bytes(tensor.datatype, value) for value in tensor.values)
            document["parameters"] = {"binary_data_size": len(data)}
            tail, binary = tail + data, True
        else:
            plain = [each.decode() if isinstance(each, bytes) else each for each in tensor.values]
            document["data"] = nested(plain, tensor.shape) if nest and tensor.shape else plain
        inputs.append(document)
    header = json.dumps({"inputs": inputs, **more}).encode()
    return header + tail, len(header) if binary else None


def answer_tensors(body: bytes, json_length: int | None) -> tuple[dict[str, Any], dict[str, Sent]]:
    """The document of an answer, and its tensors."""
    header = body if json_length is None else body[:json_length]
    document = json.loads(header)
    position, found = len(header), {}
    for output in document["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        datatype, shape = output["datatype"], tuple(output["shape"])
        if size is None:
            values = [each.encode() if isinstance(each, str) else each for each in output["data"]]
        else:
            values = _elements(datatype, body[position : position + size])
            position += size
        found[output["name"]] = Sent(output["name"], datatype, shape, values, size is not None)
        assert len(values) == math.prod(shape)
    assert position == len(body)
    return document, found


def _elements(datatype: str, data: bytes) -> list[Any]:
    found, position = [], 0
    while position < len(data):
        if datatype == "BYTES":
            size = int.from_bytes(data[position : position + 4], "little")
            position += 4
        else:
            size = size_of(datatype)
        found.append(element_value(datatype, data[position : position + size]))
        position += size
    assert position == len(data)
    return found
