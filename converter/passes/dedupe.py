"""Store equal weights once: exact deduplication of initializers of any size."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from converter.passes.base import Refuse, RewritePass
from runtimes.errors import KilnxError
from runtimes.modelfile import ModelSource, load_model, save_model, weight_bytes

_CHUNK = 1 << 22


@dataclass(frozen=True)
class Merge:
    """One tensor that is now stored once: its name, those that it replaced, bytes saved."""

    kept: str
    replaced: tuple[str, ...]
    saved_bytes: int


@dataclass(frozen=True)
class DedupeReport:
    """What was merged, and the bytes of all weights before and after."""

    merged: tuple[Merge, ...]
    weight_bytes_before: int
    weight_bytes_after: int

    @property
    def saved_bytes(self) -> int:
        """Bytes that the merged tensors took."""
        return sum(merge.saved_bytes for merge in self.merged)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        return {**asdict(self), "saved_bytes": self.saved_bytes}

    def __str__(self) -> str:
        if not self.merged:
            return f"no two tensors are equal; {self.weight_bytes_before} bytes of weights stay"
        lines = [f"{m.kept} = {', '.join(m.replaced)} ({m.saved_bytes} bytes)" for m in self.merged]
        total = f"{self.weight_bytes_before} → {self.weight_bytes_after} bytes of weights"
        return "\n".join([*lines, total])


def dedupe(
    sources: ModelSource | Sequence[ModelSource],
    output: str | os.PathLike[str],
    *,
    force: bool = False,
) -> DedupeReport:
    """Write the model with every group of equal initializers stored once.

    Equal means same type, shape and bytes; results do not change in a single bit. The model
    that is passed in stays as it is. Raises ``ModelError`` and ``DataError`` as
    ``load_model`` and ``save_model`` do.
    """
    if isinstance(sources, str | os.PathLike | ir.Model):
        sources = [sources]
    if len(sources) != 1:
        raise KilnxError(
            f"dedupe takes one model, {len(sources)} were given; run it once for each "
            "(sharing weights between models is not there yet)"
        )
    model = load_model(sources[0]).clone()
    report = deduplicate(model)
    save_model(model, output, force=force)
    return report


class DeduplicateInitializers(RewritePass):
    """The same as a pass, for tensors of at least ``min_bytes`` bytes."""

    def __init__(self, min_bytes: int = 0) -> None:
        self.min_bytes = min_bytes

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Merge in the main graph and its subgraphs."""
        return bool(deduplicate(model, min_bytes=self.min_bytes).merged)


def deduplicate(model: ir.Model, *, min_bytes: int = 0) -> DedupeReport:
    """Let equal initializers of ``model`` be one, in place; say which.

    The first in the main graph, then in its subgraphs, is kept; one that is an input
    (overridable) or an output has a name that callers know, and is neither kept for others
    nor replaced. A subgraph may use what its parents hold, never what a sibling holds.
    """
    before = weight_bytes(model)
    groups: dict[object, list[tuple[ir.Graph, ir.Value]]] = defaultdict(list)
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if (
                tensor is not None
                and not value.is_graph_input()
                and not value.is_graph_output()
                and tensor.nbytes >= min_bytes
            ):
                groups[tensor.dtype, tuple(tensor.shape)].append((graph, value))
    merged: list[Merge] = []
    for group in groups.values():
        # Only tensors that have a partner of their shape are read at all.
        if len(group) > 1:
            merged += _merge_group(model, group)
    return DedupeReport(tuple(merged), before, weight_bytes(model))


def _merge_group(model: ir.Model, group: list[tuple[ir.Graph, ir.Value]]) -> Iterator[Merge]:
    by_digest: dict[bytes, list[tuple[ir.Graph, ir.Value]]] = defaultdict(list)
    replaced: dict[ir.Value, list[str]] = {}
    for graph, value in group:
        candidates = by_digest[_digest(value)]
        for kept_graph, kept in candidates:
            if kept_graph in (graph, model.graph) and _equal(kept, value):
                value.replace_all_uses_with(kept)
                graph.initializers.pop(str(value.name))
                replaced.setdefault(kept, []).append(str(value.name))
                break
        else:
            candidates.append((graph, value))
    for kept, names in replaced.items():
        assert kept.const_value is not None
        yield Merge(str(kept.name), tuple(names), kept.const_value.nbytes * len(names))


def _chunks(value: ir.Value) -> Iterator[bytes | memoryview]:
    """The bytes of a tensor in order, without a second copy of a large one."""
    tensor = value.const_value
    assert tensor is not None
    if isinstance(tensor, ir.StringTensor):
        for text in tensor.string_data():
            yield len(text).to_bytes(8, "little")
            yield text
        return
    array = tensor.numpy()
    if array.dtype.itemsize * 8 != tensor.dtype.bitwidth:
        yield tensor.tobytes()
        return
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    for start in range(0, flat.size, _CHUNK):
        yield flat[start : start + _CHUNK].data


def _digest(value: ir.Value) -> bytes:
    digest = hashlib.blake2b(digest_size=32)
    for chunk in _chunks(value):
        digest.update(chunk)
    return digest.digest()


def _equal(left: ir.Value, right: ir.Value) -> bool:
    if left.const_value is right.const_value:
        return True
    return all(a == b for a, b in zip(_chunks(left), _chunks(right), strict=True))
