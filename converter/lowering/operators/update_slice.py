"""Writing a block into a tensor at a place that may be known only at run time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converter.lowering.builder import Builder
from converter.lowering.operators.base import UnsupportedLowering

_INT64 = 7


def update_slice(build: Builder, node: Any) -> Sequence[str]:
    """XlaDynamicUpdateSlice; a block that would reach beyond the end is moved back to it."""
    x, update, starts = node.input
    whole, part = build.shape(x), build.shape(update)
    if whole is None or part is None:
        raise UnsupportedLowering(node, "the rank of its input is only known at run time")
    partial = [i for i, (a, b) in enumerate(zip(whole, part, strict=True)) if a != b or a < 0]
    if not partial:
        return [build.op("Identity", update)]
    room = build.op("Sub", build.op("Shape", x), build.op("Shape", update))
    starts = build.op("Cast", starts, to=_INT64)
    starts = build.op("Min", build.op("Max", starts, build.constant(0)), room)
    if len(partial) == 1:
        return [_joined(build, x, update, starts, partial[0])]
    return [_laid_over(build, x, update, starts, room)]


def _joined(build: Builder, x: str, update: str, starts: str, axis: int) -> str:
    """What stands before, the block, and what stands behind, along the only axis it is part of."""
    axes = build.constant([axis])
    start = build.op("Gather", starts, axes, axis=0)
    end = build.op("Add", start, build.sizes(update, axis, axis + 1))
    before = build.op("Slice", x, build.constant([0]), start, axes)
    behind = build.op("Slice", x, end, build.constant([np.iinfo(np.int64).max]), axes)
    return build.op("Concat", before, update, behind, axis=axis)


def _laid_over(build: Builder, x: str, update: str, starts: str, room: str) -> str:
    """The block padded to the size of the whole, and the whole where there is only padding."""
    pads = build.op("Concat", starts, build.op("Sub", room, starts), axis=0)
    taken = build.op("Expand", build.constant(1.0, np.float32), build.op("Shape", update))
    mask = build.op("Greater", build.op("Pad", taken, pads), build.constant(0.5, np.float32))
    return build.op("Where", mask, build.op("Pad", update, pads), x)
