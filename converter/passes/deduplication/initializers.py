"""Store equal weights once: exact deduplication of initializers of any size.

Tensors with equal bytes become one. With ``views``, a reshaped, transposed or sliced copy of a
tensor is computed from it by a node, and a tensor of one repeated value becomes a
ConstantOfShape: ONNX Runtime computes all of these once, when it loads the model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from converter.passes.deduplication.tensor_views import (
    View,
    find_slice,
    find_view,
    fingerprint,
    single_value,
)
from runtimes.defects import Defect
from runtimes.onnx_files.load_save import weight_bytes
from runtimes.onnx_files.tensor_bytes import byte_chunks, digest_of, equal_bytes
from runtimes.onnx_graph.fold_views import VIEW_KEY
from runtimes.onnx_graph.layer_names import layer_of
from runtimes.onnx_graph.rewrite import Refuse, RewritePass
from runtimes.onnx_graph.values import add_initializer, opset, unused_name
from runtimes.readable import ReadableReport

VIEW_FROM_BYTES = 1 << 12
"""Smaller copies stay, because the node that computes one from another tensor also takes bytes."""


# From this opset on, the operators below take their parameters as inputs.
_VIEW_OPSET = 13
_FILLED_TYPES = frozenset(
    {
        ir.DataType.FLOAT,
        ir.DataType.FLOAT16,
        ir.DataType.DOUBLE,
        *(ir.DataType.INT8, ir.DataType.INT16, ir.DataType.INT32, ir.DataType.INT64),
        *(ir.DataType.UINT8, ir.DataType.UINT16, ir.DataType.UINT32, ir.DataType.UINT64),
        ir.DataType.BOOL,
    }
)


@dataclass(frozen=True)
class Merge:
    """One tensor that is now stored once: its name, those that it replaced, bytes saved.

    ``how``: ``equal``, the operator that computes the others from it, ``near``, or
    ``ConstantOfShape`` for a tensor of one repeated value. ``layers``: the Keras layers that use
    them, if known.
    """

    kept: str
    replaced: tuple[str, ...]
    saved_bytes: int
    how: str = "equal"
    layers: tuple[str, ...] = ()

    def __str__(self) -> str:
        how = "" if self.how == "equal" else f" by {self.how}"
        layers = f" in {', '.join(self.layers)}" if self.layers else ""
        return f"{self.kept} = {', '.join(self.replaced)}{how} ({self.saved_bytes} bytes){layers}"


@dataclass(frozen=True)
class DedupeReport(ReadableReport):
    """What was merged, and the bytes of all weights before and after.

    ``nodes_removed``: removed nodes that computed the same as another one. ``notes``: what was not
    done, and why. ``defects``: what failed by kilnx' own fault and was left out.
    """

    merged: tuple[Merge, ...]
    weight_bytes_before: int
    weight_bytes_after: int
    nodes_removed: int = 0
    notes: tuple[str, ...] = field(default=())
    defects: tuple[Defect, ...] = ()

    @property
    def saved_bytes(self) -> int:
        """Bytes saved by merging."""
        return sum(merge.saved_bytes for merge in self.merged)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        return {**asdict(self), "saved_bytes": self.saved_bytes}

    def headline(self) -> str:
        """How many bytes of weights remain."""
        if self.defects and not self.merged:
            return f"{self.weight_bytes_before:,} bytes of weights stay as they are"
        if not self.merged:
            return f"no two tensors are equal; {self.weight_bytes_before:,} bytes of weights stay"
        return f"{self.weight_bytes_before:,} → {self.weight_bytes_after:,} bytes of weights"

    def rows(self) -> list[dict[str, str]]:
        """One row per weight that is now shared."""
        return [
            {
                "kept": merge.kept,
                "also stored as": ", ".join(merge.replaced),
                "read by": "" if merge.how == "equal" else merge.how,
                "layers": ", ".join(merge.layers),
                "bytes saved": f"{merge.saved_bytes:,}",
            }
            for merge in self.merged
        ]


class DeduplicateInitializers(RewritePass):
    """Deduplication as a pass, for tensors of at least ``min_bytes`` bytes."""

    def __init__(self, min_bytes: int = 0) -> None:
        self.min_bytes = min_bytes

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Merge in the main graph and its subgraphs."""
        return bool(deduplicate(model, min_bytes=self.min_bytes).merged)


def deduplicate(
    model: ir.Model,
    *,
    min_bytes: int = 0,
    views: bool = False,
    view_from: int = VIEW_FROM_BYTES,
    by_content: bool = False,
) -> DedupeReport:
    """Merge equal initializers of ``model`` in place, and report which.

    The first one is kept, first in the main graph, then in its subgraphs; ``by_content``: the first
    by shape and bytes, so that every model that holds the same twins keeps the same one. An
    initializer that is an
    (overridable) input or an output has a name that callers know, so it is not merged. What two
    subgraphs share moves to the main graph. ``views``: also merge tensors that a Reshape, Transpose
    or Slice of another tensor, or a ConstantOfShape, reproduces bit by bit, for tensors of at least
    ``view_from`` bytes and opset 13 or later. Passes and quantizers that need constant weights have
    to run before.
    """
    before = weight_bytes(model)
    found = _Merges(model)
    groups: dict[object, list[ir.Value]] = defaultdict(list)
    for value in mergeable(model):
        tensor = value.const_value
        if tensor is not None and tensor.nbytes >= min_bytes:
            groups[tensor.dtype, tensor.size].append(value)
    views = views and opset(model) >= _VIEW_OPSET
    for group in groups.values():
        # Only tensors of equal size are read at all.
        if len(group) > 1:
            if by_content:
                group.sort(key=_content)
            _merge_group(found, group, view_from if views else None)
    if views:
        _merge_filled(found, view_from)
        _merge_slices(found, view_from)
    return DedupeReport(found.report(), before, weight_bytes(model))


def mergeable(model: ir.Model) -> list[ir.Value]:
    """The initializers whose names callers cannot know, those of the main graph first."""
    return [
        value
        for graph in model.graphs()
        for value in graph.initializers.values()
        if value.const_value is not None
        and not value.is_graph_input()
        and not value.is_graph_output()
    ]


def replace_by(kept: ir.Value, value: ir.Value) -> None:
    """Make the users of the initializer ``value`` use ``kept``, and remove ``value``."""
    value.replace_all_uses_with(kept)
    _holder(value).initializers.pop(str(value.name))


def layers_of(*values: ir.Value) -> tuple[str, ...]:
    """The Keras layers whose nodes use ``values``, in order and without duplicates."""
    users = [layer_of(user) for value in values for user in value.consumers()]
    return tuple(dict.fromkeys(layer for layer in users if layer))


def read_out_of(model: ir.Model, kept: ir.Value, value: ir.Value, view: View) -> ir.Node:
    """Replace the initializer ``value`` by a node that computes it from ``kept``; return that."""
    return _Merges(model).view(kept, value, view)


class _Merges:
    """What has been merged so far in one model."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self._replaced: dict[tuple[str, str], tuple[list[str], list[str], int]] = {}

    def lift(self, kept: ir.Value, value: ir.Value) -> None:
        """Move ``kept`` to the main graph, unless the graph of ``value`` can already use it."""
        main = self.model.graph
        if kept.graph not in (value.graph, main):
            _holder(kept).initializers.pop(str(kept.name))
            kept.name = unused_name(main, str(kept.name))
            main.register_initializer(kept)

    def note(self, kept: ir.Value, value: ir.Value, how: str, saved: int) -> None:
        """Record a merge before it is made."""
        names, layers, total = self._replaced.get((str(kept.name), how), ([], [], 0))
        layers += layers_of(kept, value)
        self._replaced[str(kept.name), how] = ([*names, str(value.name)], layers, total + saved)

    def equal(self, kept: ir.Value, value: ir.Value) -> None:
        self.lift(kept, value)
        self.note(kept, value, "equal", _tensor(value).nbytes)
        replace_by(kept, value)

    def view(self, kept: ir.Value, value: ir.Value, view: View) -> ir.Node:
        self.lift(kept, value)
        self.note(kept, value, view.operator, _tensor(value).nbytes)
        holder = _holder(kept)
        attributes: list[ir.Attr] = []
        if view.operator == "Transpose":
            attributes.append(ir.AttrInt64s("perm", view.parameters))
            inputs = []
        elif view.operator == "Reshape":
            inputs = [_integers(holder, "shape", view.parameters)]
        else:
            axis, start, stop = view.parameters
            inputs = [
                _integers(holder, name, [number])
                for name, number in (("start", start), ("stop", stop), ("axis", axis))
            ]
        return _replace_by_node(holder, value, view.operator, [kept, *inputs], attributes)

    def filled(self, value: ir.Value, element: np.ndarray[Any, Any]) -> None:
        tensor = _tensor(value)
        self.note(value, value, "ConstantOfShape", tensor.nbytes)
        holder = _holder(value)
        shape = _integers(holder, "shape", tensor.shape.numpy())
        attribute = ir.AttrTensor("value", ir.Tensor(element, dtype=tensor.dtype))
        _replace_by_node(holder, value, "ConstantOfShape", [shape], [attribute])

    def report(self) -> tuple[Merge, ...]:
        return tuple(
            Merge(kept, tuple(names), saved, how, tuple(dict.fromkeys(layers)))
            for (kept, how), (names, layers, saved) in self._replaced.items()
        )


def _merge_group(found: _Merges, group: Iterable[ir.Value], view_from: int | None) -> None:
    """Merge tensors of equal type and size; also views, if ``view_from`` is a number."""
    alike: dict[object, list[ir.Value]] = defaultdict(list)
    for value in group:
        tensor = _tensor(value)
        candidates = alike[fingerprint(tensor)]
        for kept in candidates:
            same_shape = _tensor(kept).shape == tensor.shape
            if same_shape and equal_bytes(_tensor(kept), tensor):
                found.equal(kept, value)
                break
        else:
            if view_from is None or tensor.nbytes < view_from:
                candidates.append(value)
                continue
            for kept in candidates:
                view = find_view(_tensor(kept), tensor)
                if view is not None:
                    found.view(kept, value, view)
                    break
            else:
                candidates.append(value)


def _content(value: ir.Value) -> tuple[tuple[int, ...], str]:
    tensor = _tensor(value)
    if tensor.dtype == ir.DataType.STRING:
        return tuple(tensor.shape.numpy()), ""
    return tuple(tensor.shape.numpy()), digest_of(byte_chunks(tensor))


def _merge_filled(found: _Merges, view_from: int) -> None:
    for value in mergeable(found.model):
        tensor = _tensor(value)
        if tensor.nbytes >= view_from and tensor.dtype in _FILLED_TYPES and value.uses():
            element = single_value(tensor)
            if element is not None:
                found.filled(value, element)


def _merge_slices(found: _Merges, view_from: int) -> None:
    values = [value for value in mergeable(found.model) if _tensor(value).nbytes >= view_from]
    values.sort(key=lambda value: -_tensor(value).size)
    kept: dict[object, list[ir.Value]] = defaultdict(list)
    for value in values:
        tensor = _tensor(value)
        larger = kept[tensor.dtype, len(tensor.shape)]
        for source in larger:
            view = find_slice(_tensor(source), tensor)
            if view is not None:
                found.view(source, value, view)
                break
        else:
            larger.append(value)


def _tensor(value: ir.Value) -> ir.TensorProtocol:
    assert value.const_value is not None
    return value.const_value


def _holder(value: ir.Value) -> ir.Graph:
    assert isinstance(value.graph, ir.Graph)
    return value.graph


def _integers(graph: ir.Graph, name: str, numbers: Iterable[int]) -> ir.Value:
    """A constant vector, shared by all views that need the same one."""
    array = np.asarray(tuple(numbers), np.int64)
    name = "_".join(("view", name, *map(str, array)))[:80]
    known = graph.initializers.get(name)
    if known is not None and known.const_value is not None and not known.is_graph_input():
        held = known.const_value
        if held.dtype == ir.DataType.INT64 and np.array_equal(held.numpy(), array):
            return known
    return add_initializer(graph, name, array)


def _replace_by_node(
    graph: ir.Graph,
    value: ir.Value,
    operator: str,
    inputs: list[ir.Value],
    attributes: list[ir.Attr],
) -> ir.Node:
    """Compute ``value`` at the start of ``graph`` instead of storing it, under the same name."""
    name = str(value.name)
    output = ir.Value(name=unused_name(graph, name), type=value.type, shape=value.shape)
    node = ir.Node("", operator, inputs, attributes, outputs=[output], name=output.name)
    for user in value.consumers():  # assign the node to a layer that uses it, for profiles
        node.metadata_props.update(user.metadata_props)
        break
    node.metadata_props[VIEW_KEY] = operator
    graph.insert_before(graph[0], node)
    replace_by(output, value)
    output.name = name
    node.name = f"{name}/shared"
    return node
