"""The bytes of a weight, in order and a few megabytes at a time, wherever they are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

CHUNK_BYTES = 1 << 22
"""Largest piece that is in memory at once, bytes. A multiple of every element's size."""

# 160 bits: finding two weights with one digest takes 2**80 tries, and bytes are compared anyway.
_DIGEST_BYTES = 20


def weight_bytes(model: ir.Model) -> int:
    """Bytes of all initializers, subgraphs included; a tensor that is stored once counts once."""
    return sum(
        value.const_value.nbytes
        for graph in model.graphs()
        for value in graph.initializers.values()
        if value.const_value is not None
    )


def byte_chunks(tensor: ir.TensorProtocol) -> Iterator[bytes | memoryview]:
    """Yield the raw bytes of ``tensor`` as ONNX stores them (little-endian, packed).

    A tensor in external data is read from its file, not mapped: mapped pages would stay resident
    as long as the tensor lives. Strings are yielded each with its length before it.
    """
    if isinstance(tensor, ir.StringTensor) or tensor.dtype == ir.DataType.STRING:
        for text in np.asarray(tensor.numpy()).reshape(-1):
            raw = text if isinstance(text, bytes) else str(text).encode()
            yield len(raw).to_bytes(8, "little")
            yield raw
        return
    if isinstance(tensor, ir.ExternalTensor):
        yield from _file_chunks(tensor)
        return
    array = tensor.numpy()
    if array.dtype.itemsize * 8 != tensor.dtype.bitwidth:
        yield tensor.tobytes()
        return
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    for start in range(0, flat.size, CHUNK_BYTES):
        yield flat[start : start + CHUNK_BYTES].data


def digest_of(chunks: Iterator[bytes | memoryview]) -> str:
    """BLAKE2b of the bytes, 40 hexadecimal digits (RFC 7693)."""
    digest = new_digest()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def new_digest() -> hashlib.blake2b:
    """A running digest like that of ``digest_of``."""
    return hashlib.blake2b(digest_size=_DIGEST_BYTES)


def equal_bytes(left: ir.TensorProtocol, right: ir.TensorProtocol) -> bool:
    """Whether two tensors of one dtype and size hold the same bytes; stops at a difference."""
    if left is right:
        return True
    return all(a == b for a, b in zip(byte_chunks(left), byte_chunks(right), strict=True))


def kept_at(
    tensor: ir.TensorProtocol,
    location: str,
    name: str,
    offset: int | None = None,
    length: int | None = None,
) -> ir.ExternalTensor:
    """A reference called ``name`` to a file or a part of one, described as ``tensor`` is."""
    return ir.ExternalTensor(
        location,
        offset,
        length,
        tensor.dtype,
        shape=ir.Shape(tensor.shape.numpy()),
        name=name,
        doc_string=tensor.doc_string,
        metadata_props=dict(tensor.metadata_props),
    )


def _file_chunks(tensor: ir.ExternalTensor) -> Iterator[bytes]:
    left = tensor.nbytes
    with open(tensor.path, "rb", buffering=0) as file:  # noqa: PTH123 - may be str or Path
        file.seek(tensor.offset or 0)
        while left:
            piece = file.read(min(left, CHUNK_BYTES))
            if not piece:
                raise EOFError(f"{tensor.path} ends before the tensor {tensor.name!r} does")
            left -= len(piece)
            yield piece
