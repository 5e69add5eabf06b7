"""How one stored tensor can be computed from another, bit by bit: reshaped, transposed, sliced.

Tensors may be in files larger than memory: at most one of the two is mapped as a whole, and the
other is read in blocks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir

from runtimes.base import Array
from runtimes.onnx_files.tensor_bytes import CHUNK_BYTES, byte_chunks, digest_of, equal_bytes
from runtimes.onnx_graph.values import shape_of

# All orders of up to this many axes are tried: 720.
_MAX_RANK = 6
# Elements to compare before two tensors are compared completely.
_PROBES = 64
# Candidate offsets to try for a slice; only tensors with repetitive contents have more.
_MAX_PLACES = 8


@dataclass(frozen=True)
class View:
    """The node that computes a tensor from another.

    ``parameters``: the shape, the permutation, or ``(axis, start, stop)``.
    """

    operator: Literal["Reshape", "Transpose", "Slice"]
    parameters: tuple[int, ...]


def fingerprint(tensor: ir.TensorProtocol) -> int | str:
    """A hash that is equal for tensors with the same elements in any order.

    It is the exclusive-or of the elements' bits, taken eight bytes at a time and folded, which is
    as fast as memory can be read. For strings and for elements smaller than a byte it is a digest
    instead, which depends on the order.
    """
    width = unsigned(tensor)
    if width is None:
        return digest_of(byte_chunks(tensor))
    mixed = 0
    for chunk in byte_chunks(tensor):
        whole = len(chunk) // 8 * 8
        words = np.frombuffer(chunk, np.uint64, whole // 8)
        mixed ^= int(np.bitwise_xor.reduce(words))
        for element in np.frombuffer(chunk, width, offset=whole):
            mixed ^= int(element)
    size, half = width.itemsize, 4
    while half >= size:
        mixed = (mixed >> 8 * half) ^ (mixed & ((1 << 8 * half) - 1))
        half //= 2
    return mixed


def find_view(source: ir.TensorProtocol, target: ir.TensorProtocol) -> View | None:
    """How to reorder ``source`` into ``target``, of equal element count and fingerprint."""
    shape, wanted = shape_of(source), shape_of(target)
    if shape != wanted and equal_bytes(source, target):
        return View("Reshape", wanted)
    if unsigned(source) is None or len(shape) != len(wanted) or len(shape) > _MAX_RANK:
        return None
    held = elements(source)
    probes = _probe_indices(wanted)
    sample = elements(target)[probes]
    for order in itertools.permutations(range(len(shape))):
        if tuple(shape[axis] for axis in order) != wanted or order == tuple(range(len(shape))):
            continue
        transposed = held.transpose(order)
        if np.array_equal(transposed[probes], sample) and _equal(transposed, target):
            return View("Transpose", order)
    return None


def find_slice(source: ir.TensorProtocol, target: ir.TensorProtocol) -> View | None:
    """The slice of the larger ``source`` along one axis that is equal to ``target``."""
    shape, wanted = shape_of(source), shape_of(target)
    if unsigned(source) is None or len(shape) != len(wanted):
        return None
    axes = [axis for axis in range(len(shape)) if shape[axis] != wanted[axis]]
    if len(axes) != 1 or shape[axes[0]] < wanted[axes[0]]:
        return None
    axis, length = axes[0], wanted[axes[0]]
    held = elements(source)
    for start in _places(held, elements(target), axis):
        index = (slice(None),) * axis + (slice(start, start + length),)
        if _equal(held[index], target):
            return View("Slice", (axis, start, start + length))
    return None


def single_value(tensor: ir.TensorProtocol) -> Array | None:
    """The one element (shape ``[1]``) that fills ``tensor``, if all its elements are equal."""
    if unsigned(tensor) is None or not tensor.size:
        return None
    first = elements(tensor).reshape(-1)[:1].copy()
    if not all(bool((block == first).all()) for block in _blocks(tensor)):
        return None
    return np.asarray(first.view(tensor.dtype.numpy()))


def unsigned(tensor: ir.TensorProtocol) -> np.dtype[np.unsignedinteger] | None:
    """The unsigned integer type as wide as an element, or None if there is none."""
    if tensor.dtype == ir.DataType.STRING or tensor.dtype.bitwidth not in (8, 16, 32, 64):
        return None
    return np.dtype(f"u{tensor.dtype.bitwidth // 8}")


def elements(tensor: ir.TensorProtocol) -> Array:
    """The bits of the elements as unsigned integers, memory-mapped if they are in a file."""
    dtype = unsigned(tensor)
    assert dtype is not None
    if isinstance(tensor, ir.ExternalTensor):
        # Our own mapping is freed with the last array that uses it; the tensor's would stay.
        return np.memmap(tensor.path, dtype, "r", offset=tensor.offset or 0, shape=shape_of(tensor))
    return np.asarray(tensor.numpy()).view(dtype)


def _blocks(tensor: ir.TensorProtocol) -> Iterator[Array]:
    dtype = unsigned(tensor)
    assert dtype is not None
    for chunk in byte_chunks(tensor):
        yield np.frombuffer(chunk, dtype)


def _equal(expected: Array, target: ir.TensorProtocol) -> bool:
    """Compare in blocks of the first axis, so that ``target`` is never mapped as a whole."""
    rows = len(expected)
    step = max(1, rows * CHUNK_BYTES // max(expected.nbytes, 1))
    return all(
        np.array_equal(expected[start : start + step], elements(target)[start : start + step])
        for start in range(0, rows, step)
    )


def _probe_indices(shape: tuple[int, ...]) -> tuple[Array, ...]:
    flat = np.linspace(0, int(np.prod(shape)) - 1, _PROBES).astype(np.int64)
    return tuple(np.asarray(index) for index in np.unravel_index(flat, shape))


def _places(source: Array, target: Array, axis: int) -> list[int]:
    """Offsets along ``axis`` where the middle line of ``target`` occurs in that of ``source``."""
    middle = tuple(size // 2 for size in target.shape)
    line = (*middle[:axis], slice(None), *middle[axis + 1 :])
    long, short = np.array(source[line]), np.array(target[line])
    starts = np.flatnonzero(long[: len(long) - len(short) + 1] == short[0])
    found = (int(s) for s in starts if np.array_equal(long[s : s + len(short)], short))
    return list(itertools.islice(found, _MAX_PLACES))
