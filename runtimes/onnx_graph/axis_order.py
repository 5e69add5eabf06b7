"""How one view of a tensor orders the axes of another, up to additional axes of size one.

Transpose, Squeeze and Unsqueeze with known axes change only this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import onnx_ir as ir

from runtimes.onnx_graph.values import Array, is_op, rank, small_ints

T = TypeVar("T")


@dataclass(frozen=True)
class AxisOrder:
    """A value v as a view of another value s that holds the same numbers.

    Axis i of v is axis ``places[i]`` of s, or an axis of size one that s lacks (``None``).
    ``rank`` is the rank of s; axes of s that v lacks have size one.
    """

    places: tuple[int | None, ...]
    rank: int

    def is_identity(self) -> bool:
        """Whether v is s."""
        return self.places == tuple(range(self.rank))

    def inverse(self) -> AxisOrder:
        """S as a view of v."""
        return AxisOrder(tuple(self.carry(range(len(self.places)), None)), len(self.places))

    def after(self, first: AxisOrder) -> AxisOrder:
        """V as a view of x, where ``first`` describes s as a view of x."""
        places = (None if place is None else first.places[place] for place in self.places)
        return AxisOrder(tuple(places), first.rank)

    def carry(self, items: Sequence[T], default: T) -> list[T]:
        """Reorder items, one per axis of v, to one per axis of s; ``default`` for axes v lacks."""
        result = [default] * self.rank
        for item, place in zip(items, self.places, strict=True):
            if place is not None:
                result[place] = item
        return result

    def axes(self, axes: Sequence[int]) -> list[int] | None:
        """Axes of v (not negative) as axes of s, or ``None`` if s lacks one of them."""
        moved = [self.places[axis] for axis in axes]
        found = [place for place in moved if place is not None]
        return found if len(found) == len(moved) else None

    def without(self, axes: Sequence[int]) -> AxisOrder | None:
        """The same order after these axes of v, and the matching axes of s, are removed."""
        gone = self.axes(axes)
        if gone is None:
            return None
        left = [axis for axis in range(self.rank) if axis not in gone]
        places = (p for axis, p in enumerate(self.places) if axis not in axes)
        return AxisOrder(tuple(None if p is None else left.index(p) for p in places), len(left))

    def array(self, array: Array) -> Array | None:
        """Turn an array that broadcasts with v into one that broadcasts with s.

        A single number may stay as it is. ``None`` if the array varies along an axis that s lacks.
        """
        if array.size == 1:
            return array if array.ndim <= self.rank else array.reshape(())
        return self.reordered(array)

    def reordered(self, array: Array) -> Array | None:
        """Like ``array``, but always with exactly the rank of s, even for a single number."""
        wide = array.reshape((1,) * (len(self.places) - array.ndim) + array.shape)
        lacking = [axis for axis, place in enumerate(self.places) if place is None]
        if any(wide.shape[axis] != 1 for axis in lacking):
            return None
        shown = [axis for axis, place in enumerate(self.places) if place is not None]
        shown.sort(key=lambda axis: self.places[axis] or 0)
        moved = np.transpose(wide, [*shown, *lacking])
        return np.ascontiguousarray(moved).reshape(self.carry(wide.shape, 1))

    def shape(self, shape: ir.Shape | None) -> ir.Shape | None:
        """The shape of s, given the shape of v."""
        if shape is None or len(shape) != len(self.places):
            return None
        return ir.Shape(self.carry(list(shape), 1))


def order_of(node: ir.Node) -> AxisOrder | None:
    """The output of Transpose, Squeeze or Unsqueeze as a view of its input."""
    length = rank(node.inputs[0]) if node.inputs else None
    if is_op(node, "Transpose"):
        perm = node.attributes.get_ints("perm")
        if perm is None and length is None:
            return None
        places = tuple(perm) if perm is not None else tuple(range(length or 0))[::-1]
        return AxisOrder(places, len(places))
    axes = small_ints(node.inputs[1]) if len(node.inputs) > 1 else None
    if not is_op(node, "Squeeze", "Unsqueeze") or axes is None or length is None:
        return None
    if is_op(node, "Squeeze"):
        gone = {axis % length for axis in axes}
        return AxisOrder(tuple(axis for axis in range(length) if axis not in gone), length)
    new = {axis % (length + len(axes)) for axis in axes}
    old = iter(range(length))
    shown = (None if axis in new else next(old) for axis in range(length + len(axes)))
    return AxisOrder(tuple(shown), length)


def node_for(order: AxisOrder) -> tuple[str, tuple[int, ...]]:
    """The operator that computes v from s, and its perm or axes.

    Only for orders that a single operator can produce.
    """
    shown = [place for place in order.places if place is not None]
    if len(shown) == len(order.places) == order.rank:
        return "Transpose", tuple(shown)
    assert shown == sorted(shown)
    if len(shown) == len(order.places):
        return "Squeeze", tuple(axis for axis in range(order.rank) if axis not in shown)
    assert len(shown) == order.rank
    return "Unsqueeze", tuple(axis for axis, p in enumerate(order.places) if p is None)
