"""Reductions of segments, rows with one id, as ScatterND into what nothing reduces to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from converter.lowering.builder import Builder
from converter.lowering.operators.base import OperatorLowering, UnsupportedLowering

_INT64 = 7
_REDUCTIONS = {"Sum": "add", "Prod": "mul", "Max": "max", "Min": "min"}
_OPSETS = {"add": 16, "mul": 16, "max": 18, "min": 18}


def segment(build: Builder, node: Any) -> Sequence[str]:
    """SegmentSum and its like: ids ascend, the last one says how many segments there are.

    What has no rows becomes 0, and 1 of a product.
    """
    data, ids = node.input
    how = _reduction(build, node, "Segment")
    ids = build.op("Cast", ids, to=_INT64)
    last = build.op("Slice", ids, build.constant([-1]), build.constant([np.iinfo(np.int64).max]))
    count = build.op("Add", last, build.constant([1]))
    empty = 1.0 if how == "mul" else 0.0
    if how in ("add", "mul"):
        return [_scattered(build, data, ids, count, how=how, start=empty)]
    # Every number is above the lowest: of what has rows it is no part.
    reduced = _scattered(build, data, ids, count, how=how, start=_extreme(build, data, how))
    ones = build.op("Cast", build.op("Equal", data, data), to=_INT64)
    rows = _scattered(build, ones, ids, count, how="add", start=0)
    taken = build.op("Greater", rows, build.constant(0))
    return [build.op("Where", taken, reduced, build.scalar(empty, like=data))]


def unsorted(build: Builder, node: Any) -> Sequence[str]:
    """UnsortedSegmentSum and its like; rows of a negative id are left out."""
    data, ids, count = node.input
    how = _reduction(build, node, "UnsortedSegment")
    empty = {"add": 0.0, "mul": 1.0}.get(how)
    ids = build.op("Cast", ids, to=_INT64)
    count = build.reshape(build.op("Cast", count, to=_INT64), [1])
    # One row more takes what is left out, which ONNX would count from the end.
    ids = build.op("Where", build.op("Less", ids, build.constant(0)), count, ids)
    more = build.op("Add", count, build.constant([1]))
    start = _extreme(build, data, how) if empty is None else empty
    reduced = _scattered(build, data, ids, more, how=how, start=start)
    return [build.op("Slice", reduced, build.constant([0]), count, build.constant([0]))]


def _reduction(build: Builder, node: Any, prefix: str) -> str:
    how = _REDUCTIONS[node.type.removeprefix(prefix)]
    if build.opset < _OPSETS[how]:
        raise UnsupportedLowering(
            node, f"it is written from opset {_OPSETS[how]} on (--opset {_OPSETS[how]})"
        )
    if build.shape(node.input[1]) is None:
        raise UnsupportedLowering(node, "the rank of its segment ids is only known at run time")
    return how


def _scattered(build: Builder, data: str, ids: str, count: str, *, how: str, start: float) -> str:
    rank = len(build.shape(ids) or ())
    row = build.sizes(data, rank)
    shape = build.op("Concat", count, row, axis=0)
    empty = build.op("Expand", build.scalar(start, like=data), shape)
    return build.op("ScatterND", empty, build.unsqueeze(ids, rank), data, reduction=how)


def _extreme(build: Builder, data: str, how: str) -> Any:
    """The value that any other replaces."""
    dtype = ir.DataType(build.dtype(data)).numpy()
    limits: Any = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    return limits.min if how == "max" else limits.max


SEGMENTS: dict[str, OperatorLowering] = {
    **{f"Segment{name}": segment for name in _REDUCTIONS},
    **{f"UnsortedSegment{name}": unsorted for name in _REDUCTIONS},
}
