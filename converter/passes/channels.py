"""Follow one axis of a value through nodes that only move data."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from converter.passes.values import is_op, rank, small_ints


@dataclass(frozen=True)
class Channel:
    """The channel axis of a value: counted from the end, with the value's rank if known."""

    axis: int
    rank: int | None

    def after(self, node: ir.Node) -> Channel | None:
        """The same channels in the output of ``node``, or ``None`` if it does more than move.

        Transpose, Squeeze and Unsqueeze keep every number and never touch the channel axis;
        a Squeeze of the axis itself gives ``None``.
        """
        if self.rank is None:
            return None
        moved = _positions(node, self.rank)
        here = self.axis + self.rank
        if moved is None or here not in moved:
            return None
        return Channel(moved.index(here) - len(moved), len(moved))

    def before(self, node: ir.Node) -> Channel | None:
        """The same channels in the input of ``node``, or ``None``: the inverse of ``after``."""
        source = node.inputs[0] if node.inputs else None
        source_rank = rank(source)
        if is_op(node, "Transpose"):
            source_rank = self.rank
        if source_rank is None or self.rank is None:
            return None
        moved = _positions(node, source_rank)
        if moved is None or len(moved) != self.rank:
            return None
        origin = moved[self.axis]
        return None if origin is None else Channel(origin - source_rank, source_rank)


def _positions(node: ir.Node, source_rank: int) -> list[int | None] | None:
    """For each output axis the input axis that it shows (``None``: a new axis of size one)."""
    if is_op(node, "Transpose"):
        perm = node.attributes.get_ints("perm", range(source_rank)[::-1])
        return list(perm) if len(perm) == source_rank else None
    if not is_op(node, "Squeeze", "Unsqueeze"):
        return None
    in_attribute = node.attributes.get_ints("axes")
    axes = small_ints(node.inputs[1]) if len(node.inputs) > 1 else in_attribute
    if axes is None:
        return None
    if is_op(node, "Squeeze"):
        gone = {axis % source_rank for axis in axes}
        return [axis for axis in range(source_rank) if axis not in gone]
    new_rank = source_rank + len(axes)
    new = {axis % new_rank for axis in axes}
    old = iter(range(source_rank))
    return [None if axis in new else next(old) for axis in range(new_rank)]
