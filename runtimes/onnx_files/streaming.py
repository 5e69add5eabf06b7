"""One ONNX file with its weights inside, written and looked at one weight at a time.

A protobuf library holds the whole message and its bytes at once, so a model would be in memory
three times while it is written, and twice while somebody only asks for its inputs.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx_ir as ir

from runtimes.onnx_files.protobuf import Pieces, embedded, location_of, referring, with_tensors
from runtimes.onnx_files.tensor_bytes import byte_chunks, kept_at

# Smaller weights go the ordinary way: they are what their message holds anyway.
_STREAMED_ABOVE_BYTES = 4096
_REFERRED_ABOVE_BYTES = 65536
_ALIGNMENT = 65536

# No file has this name: a place in the message for a weight that is yet to be written.
_PLACE = "\0kilnx:"


def write_single_file(model: ir.Model, path: str | os.PathLike[str]) -> None:
    """Write ``model`` to ``path`` with all of its weights inside.

    What onnx_ir writes, byte by byte, without the memory: a weight is evaluated, read from its
    external data and written by itself. ``model`` does not change.
    """
    weights: dict[str, ir.TensorProtocol] = {}

    def place(tensor: ir.TensorProtocol, name: str) -> ir.TensorProtocol:
        location = f"{_PLACE}{len(weights)}"
        weights[location] = tensor
        return kept_at(tensor, location, name)

    with _replaced(model, place):
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


def write_with_data(model: ir.Model, path: str | os.PathLike[str], data_name: str) -> None:
    """Write ``model`` to ``path`` and its large weights to a file called ``data_name`` next to it.

    A weight that several values hold is written once. Large ones begin at a multiple of 64 KiB, so
    that every system can map them. ``model`` does not change.
    """
    written: dict[int, tuple[int, int]] = {}
    path = Path(path)
    with path.with_name(data_name).open("wb") as file:

        def put(tensor: ir.TensorProtocol, name: str) -> ir.TensorProtocol:
            if tensor.nbytes <= _STREAMED_ABOVE_BYTES:
                return ir.Tensor(np.array(tensor.numpy()), dtype=tensor.dtype, name=name)
            if id(tensor) not in written:
                file.seek(-file.tell() % _ALIGNMENT, os.SEEK_CUR)
                written[id(tensor)] = file.tell(), tensor.nbytes
                _write_tensor(tensor, file)
            return kept_at(tensor, data_name, name, *written[id(tensor)])

        with _replaced(model, put):
            path.write_bytes(ir.to_proto(model).SerializeToString(deterministic=True))


def frame_of(path: str | os.PathLike[str]) -> bytes:
    """The model in the file at ``path``, with its large weights as references into that file.

    A model in bytes; as a file it is valid next to the other one. Raises ``OSError``, and
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
def _replaced(
    model: ir.Model, place: Callable[[ir.TensorProtocol, str], ir.TensorProtocol]
) -> Iterator[None]:
    """Put what ``place`` gives where the large weights of ``model`` are, for a while."""
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
        yield
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
