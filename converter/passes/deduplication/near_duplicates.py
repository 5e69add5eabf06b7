"""Store nearly equal weights once. This is lossy, so the caller has to judge the result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from converter.passes.deduplication.initializers import Merge, layers_of, mergeable, replace_by
from runtimes.base import Array
from runtimes.onnx_files.tensor_bytes import CHUNK_BYTES, byte_chunks

# Enough elements to tell unrelated weights apart without reading them completely.
_PROBES = 256


def merge_near(model: ir.Model, tolerance: float) -> tuple[Merge, ...]:
    """Merge float initializers that are equal up to ``tolerance``, in place.

    Equal up to the tolerance: no element differs by more than ``tolerance`` times the largest
    magnitude in the tensor that is kept (the first). All others are compared with that one, never
    with each other, so that differences do not add up. NaN is never near to anything. Raises
    ``ValueError`` for a tolerance that is negative or not a number.
    """
    if not tolerance >= 0:
        raise ValueError(f"the tolerance must be 0 or more, not {tolerance}")
    groups: dict[object, list[ir.Value]] = defaultdict(list)
    for value in mergeable(model):
        tensor = value.const_value
        if tensor is not None and tensor.dtype.is_floating_point() and tensor.size:
            groups[tensor.dtype, tuple(tensor.shape)].append(value)
    merges: list[Merge] = []
    for group in groups.values():
        kept: dict[ir.Value, float] = {}
        replaced: dict[ir.Value, tuple[list[str], list[str]]] = {}
        for value in group:
            for first, limit in kept.items():
                if first.graph in (value.graph, model.graph) and _near(first, value, limit):
                    names, layers = replaced.setdefault(first, ([], []))
                    layers += layers_of(first, value)
                    names.append(str(value.name))
                    replace_by(first, value)
                    break
            else:
                kept[value] = tolerance * _largest(value)
        for first, (names, layers) in replaced.items():
            assert first.const_value is not None
            saved = first.const_value.nbytes * len(names)
            unique = tuple(dict.fromkeys(layers))
            merges.append(Merge(str(first.name), tuple(names), saved, "near", unique))
    return tuple(merges)


def _largest(value: ir.Value) -> float:
    assert value.const_value is not None
    return max(float(np.abs(block).max()) for block in _blocks(value.const_value))


def _near(kept: ir.Value, other: ir.Value, limit: float) -> bool:
    left, right = kept.const_value, other.const_value
    assert left is not None
    assert right is not None
    if not np.isfinite(limit):
        return False
    pairs = zip(_blocks(left), _blocks(right), strict=True)
    return all(_within(a[:_PROBES], b[:_PROBES], limit) and _within(a, b, limit) for a, b in pairs)


def _within(left: Array, right: Array, limit: float) -> bool:
    return bool((np.abs(left.astype(np.float64) - right.astype(np.float64)) <= limit).all())


def _blocks(tensor: ir.TensorProtocol) -> Iterable[Array]:
    if tensor.nbytes <= CHUNK_BYTES or tensor.dtype.bitwidth % 8:
        return [np.asarray(tensor.numpy()).reshape(-1)]
    dtype = tensor.dtype.numpy()
    return (np.frombuffer(chunk, dtype) for chunk in byte_chunks(tensor))
