"""One ONNX file with its weights inside, written and looked at one weight at a time.

A protobuf library holds the whole message and its bytes at once, so a model would be in memory
three times while it is written, and twice while somebody only asks for its inputs.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import onnx_ir as ir

from runtimes.onnx_files.protobuf import Pieces, embedded, location_of, referring, with_tensors
from runtimes.onnx_files.tensor_bytes import byte_chunks, kept_at

# Smaller weights go the ordinary way: they are what their message holds anyway.
_STREAMED_ABOVE_BYTES = 4096
_REFERRED_ABOVE_BYTES = 65536

# No file has this name: a place in the message for a weight that is yet to be written.
_PLACE = "\0kilnx:"


def write_single_file(model: ir.Model, path: str | os.PathLike[str]) -> None:
    """Write ``model`` to ``path`` with all of its weights inside.

    What onnx_ir writes, byte by byte, without the memory: a weight is evaluated, read from its
    external data and written by itself. ``model`` does not change.
    """
    with _placeholders(model) as weights:
        frame = memoryview(ir.to_proto(model).SerializeToString(deterministic=True))

    marker = _PLACE.encode()
    whole = with_tensors(
        frame,
        lambda tensor, _: embedded(tensor, weights.get),
        lambda held: marker in bytes(held),
    )
    with Path(path).open("wb") as file:
        for part in (whole or Pieces.of([frame])).parts:
            if isinstance(part, bytes | memoryview):
                file.write(part)
            else:
                _write_tensor(part, file)


def frame_of(path: str | os.PathLike[str]) -> bytes:
    """The model in the file at ``path``, with its large weights as references into that file.

    A model in bytes; as a file it is valid beside the other one. Raises ``OSError``, and
    ``MalformedMessage`` for what is no protobuf message.
    """
    path = Path(path)
    message = _mapped(path)
    found = with_tensors(
        message,
        lambda tensor, offset: referring(tensor, offset, path.name, _REFERRED_ABOVE_BYTES),
        lambda held: len(held) > _REFERRED_ABOVE_BYTES,
    )
    parts = [message] if found is None else found.parts
    return b"".join(part for part in parts if isinstance(part, bytes | memoryview))


def locations_in(path: str | os.PathLike[str]) -> set[str]:
    """The files that the model in the file at ``path`` has external data in, as it names them.

    Raises what ``frame_of`` raises.
    """
    found: set[str] = set()

    def note(tensor: memoryview, _offset: int) -> None:
        location = location_of(tensor)
        if location is not None:
            found.add(location)

    with_tensors(_mapped(Path(path)), note, lambda _: True)
    return found


def _mapped(path: Path) -> memoryview:
    if not path.stat().st_size:
        return memoryview(b"")  # which cannot be mapped
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


@contextmanager
def _placeholders(model: ir.Model) -> Iterator[dict[str, ir.TensorProtocol]]:
    """Put places where the weights of ``model`` are; the weights by their places."""
    weights: dict[str, ir.TensorProtocol] = {}

    def place(tensor: ir.TensorProtocol, name: str) -> ir.ExternalTensor:
        location = f"{_PLACE}{len(weights)}"
        weights[location] = tensor
        return kept_at(tensor, location, name)

    values = [value for graph in model.graphs() for value in graph.initializers.values()]
    tensors = [(value, value.const_value) for value in values]
    attributes = [
        (node, attribute)
        for graph in (*model.graphs(), *model.functions.values())
        for node in graph
        for attribute in node.attributes.values()
        if attribute.type == ir.AttributeType.TENSOR
        and isinstance(attribute.value, ir.ExternalTensor)
    ]
    try:
        for value, tensor in tensors:
            if tensor is not None and _is_streamed(tensor):
                value.const_value = place(tensor, str(value.name))
        for node, attribute in attributes:
            held = place(attribute.value, str(attribute.value.name or ""))
            node.attributes[attribute.name] = ir.AttrTensor(attribute.name, held)
        yield weights
    finally:
        for value, tensor in tensors:
            value.const_value = tensor
        for node, attribute in attributes:
            node.attributes[attribute.name] = attribute


def _is_streamed(tensor: ir.TensorProtocol) -> bool:
    if tensor.dtype == ir.DataType.STRING:
        return False
    if isinstance(tensor, ir.ExternalTensor):
        return True  # of whatever size: a single file refers to no other
    if isinstance(tensor, ir.TensorProtoTensor) and not tensor.raw.HasField("raw_data"):
        return False  # written as it was read
    return tensor.nbytes > _STREAMED_ABOVE_BYTES


def _write_tensor(tensor: ir.TensorProtocol, file: BinaryIO) -> None:
    start = file.tell()
    for chunk in byte_chunks(tensor):
        file.write(chunk)
    if file.tell() - start != tensor.nbytes:
        raise RuntimeError(f"{tensor.name!r} is {file.tell() - start} bytes, not {tensor.nbytes}")
