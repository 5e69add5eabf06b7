"""Follow one axis of a value through nodes that do not mix its channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import onnx_ir as ir

from runtimes.onnx_graph.values import is_op, rank, small_ints


class Commutes(Enum):
    """Which per-channel affine maps can be moved from before a node to after it."""

    ALL = "all"
    NOT_NEGATIVE = "those whose scale is not negative"


@dataclass(frozen=True)
class Channel:
    """The channel axis of a value: counted from the end, with the value's rank if known."""

    axis: int
    rank: int | None

    def after(self, node: ir.Node) -> Channel | None:
        """The same channels in the output of ``node``, or ``None`` if the node mixes them."""
        if self.rank is None:
            return None
        shown = _shown(node, self.rank)
        here = self.axis + self.rank
        if shown is None or here not in shown:
            return None
        return Channel(shown.index(here) - len(shown), len(shown))

    def before(self, node: ir.Node) -> Channel | None:
        """The same channels in the input of ``node``, or ``None``: the inverse of ``after``."""
        source_rank = rank(node.inputs[0]) if node.inputs else None
        if is_op(node, "Transpose") or _is_pool(node):
            source_rank = self.rank
        if source_rank is None or self.rank is None:
            return None
        shown = _shown(node, source_rank)
        if shown is None or len(shown) != self.rank:
            return None
        origin = shown[self.axis]
        return None if origin is None else Channel(origin - source_rank, source_rank)


def commutes(node: ir.Node) -> Commutes | None:
    """Which kind of per-channel affine map ``node`` commutes with; ``None`` if with neither kind.

    Moving data commutes with all of them, and so do means, whose weights add up to one. A maximum
    commutes with maps that preserve the order.
    """
    if is_op(node, "Transpose", "Squeeze", "Unsqueeze", "GlobalAveragePool", "ReduceMean"):
        return Commutes.ALL
    if is_op(node, "AveragePool"):
        counts_padding = bool(node.attributes.get_int("count_include_pad", 0))
        return None if counts_padding and _is_padded(node) else Commutes.ALL
    if is_op(node, "MaxPool", "GlobalMaxPool", "ReduceMax"):
        # The second output of MaxPool is an index, to which no map may be applied.
        return Commutes.NOT_NEGATIVE if len(node.outputs) == 1 else None
    return None


def _is_padded(node: ir.Node) -> bool:
    named = node.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    overhangs = bool(node.attributes.get_int("ceil_mode", 0))
    return named or overhangs or any(node.attributes.get_ints("pads", ()))


def _is_pool(node: ir.Node) -> bool:
    return is_op(node, "AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool")


def _shown(node: ir.Node, source_rank: int) -> list[int | None] | None:
    """For each output axis, the input axis that it is (``None``: a new axis of size one).

    Axes along which the node computes are left out. The result is ``None`` for a node that
    commutes with no affine map.
    """
    if commutes(node) is None:
        return None
    if is_op(node, "Transpose"):
        perm = node.attributes.get_ints("perm", range(source_rank)[::-1])
        return list(perm) if len(perm) == source_rank else None
    if _is_pool(node):
        return [0, 1, *[None] * (source_rank - 2)]
    in_attribute = node.attributes.get_ints("axes")
    axes = small_ints(node.inputs[1]) if len(node.inputs) > 1 else in_attribute
    return None if not axes else _shown_without(node, source_rank, axes)


def _shown_without(node: ir.Node, source_rank: int, axes: Sequence[int]) -> list[int | None]:
    """The same for nodes that add, drop or reduce the axes that they name."""
    if is_op(node, "Unsqueeze"):
        new_rank = source_rank + len(axes)
        new = {axis % new_rank for axis in axes}
        old = iter(range(source_rank))
        return [None if axis in new else next(old) for axis in range(new_rank)]
    gone = {axis % source_rank for axis in axes}
    if not is_op(node, "Squeeze") and node.attributes.get_int("keepdims", 1) != 0:
        return [None if axis in gone else axis for axis in range(source_rank)]
    return [axis for axis in range(source_rank) if axis not in gone]
