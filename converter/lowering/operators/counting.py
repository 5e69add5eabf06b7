"""Counting values: bins of a histogram, and how often each whole number occurs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from converter.lowering.builder import Builder
from converter.lowering.operators.base import UnsupportedLowering

_FLOAT, _INT32, _INT64, _DOUBLE = 1, 6, 7, 11


def bucketize(build: Builder, node: Any) -> Sequence[str]:
    """Bucketize: the number of boundaries that are not greater than the value."""
    (x,) = node.input
    if build.dtype(x) not in (_FLOAT, _DOUBLE):
        x = build.op("Cast", x, to=_FLOAT)
    boundaries = node.get_attr_value("boundaries") or []
    limits = build.constant(boundaries, ir.DataType(build.dtype(x)).numpy())
    # Not "greater or equal": NaN belongs into the last bucket.
    below = build.op("Not", build.op("Less", build.unsqueeze(x, -1), limits))
    return [build.reduce("ReduceSum", build.op("Cast", below, to=_INT32), [-1])]


def bincount(build: Builder, node: Any) -> Sequence[str]:
    """DenseBincount of a vector or of each row of a matrix; values of ``size`` and over count not.

    Weights are added up, without them ones; ``binary_output`` says only whether a value occurs.
    """
    values, size, weights = node.input
    shape = build.shape(values)
    if shape is None:
        raise UnsupportedLowering(node, "it counts in a tensor of unknown rank")
    binary = bool(node.get_attr_value("binary_output", 0))
    weighted = 0 not in (build.shape(weights) or []) and not binary
    dtype = build.dtype(node.output[0])
    bins = _number_of_bins(node.inputs[1])
    values = build.op("Cast", values, to=_INT64)
    if len(shape) == 1:
        values = build.unsqueeze(values, 0)
        weights = build.unsqueeze(weights, 0) if weighted else weights
    count = build.op("Cast", size, to=_INT64) if bins is None else build.constant(bins)
    one = build.constant([1], ir.DataType(dtype).numpy())
    if build.opset >= 16:
        added = weights if weighted else build.op("Expand", one, build.op("Shape", values))
        counts = _scattered(build, values, count, added, dtype=dtype, binary=binary)
    else:
        counts = _compared(build, values, count, weights if weighted else "", dtype)
        counts = build.op("Min", counts, one) if binary else counts
    return [build.squeeze(counts, 0) if len(shape) == 1 else counts]


def histogram_fixed_width(build: Builder, node: Any) -> Sequence[str]:
    """HistogramFixedWidth: how many values are in each of the equal parts of a range.

    Values below it count in the first part, those above it in the last one.
    """
    values, limits, bins = node.input
    if build.opset < 16:
        raise UnsupportedLowering(node, "adding to one place several times needs opset 16")
    low, high = (build.op("Gather", limits, build.constant(end), axis=0) for end in (0, 1))
    count = build.op("Cast", bins, to=_INT64)
    parts = build.op("Cast", count, to=_DOUBLE)
    width = build.op("Div", build.op("Cast", build.op("Sub", high, low), to=_DOUBLE), parts)
    above = build.op("Sub", build.op("Max", build.reshape(values, [1, -1]), low), low)
    place = build.op("Div", build.op("Cast", above, to=_DOUBLE), width)
    last = build.op("Sub", parts, build.constant(1, np.float64))
    place = build.op("Cast", build.op("Min", place, last), to=_INT64)
    dtype = build.dtype(node.output[0])
    one = build.constant([1], ir.DataType(dtype).numpy())
    added = build.op("Expand", one, build.op("Shape", place))
    return [build.squeeze(_scattered(build, place, count, added, dtype=dtype, binary=False), 0)]


def _scattered(
    build: Builder, values: str, count: str, added: str, *, dtype: int, binary: bool
) -> str:
    """Add at each value's place; one more column takes what is not counted."""
    count = build.reshape(count, [1])
    rows = build.op("Slice", build.op("Shape", values), build.constant([0]), build.constant([1]))
    columns = build.op("Add", count, build.constant([1]))
    empty = build.op(
        "Expand",
        build.constant([0], ir.DataType(dtype).numpy()),
        build.op("Concat", rows, columns, axis=0),
    )
    places = build.op("Min", values, count)
    reduction = {} if binary else {"reduction": "add"}
    counts = build.op("ScatterElements", empty, places, added, axis=1, **reduction)
    return build.op("Slice", counts, build.constant([0]), count, build.constant([1]))


def _compared(build: Builder, values: str, count: str, weights: str, dtype: int) -> str:
    """Compare each value with each bin, where ONNX cannot add while it scatters."""
    count = build.op("Squeeze", count)
    bins = build.op("Range", build.constant(0), count, build.constant(1))
    hits = build.op("Cast", build.op("Equal", build.unsqueeze(values, -1), bins), to=dtype)
    if weights:
        hits = build.op("Mul", hits, build.unsqueeze(weights, -1))
    return build.reduce("ReduceSum", hits, [1])


def _number_of_bins(size: Any) -> int | None:
    """The size where it is known: a constant, or a number held between two equal bounds.

    Keras asks for ``min(n, max(n, largest + 1))`` bins.
    """
    size = _uncast(size)
    if size.is_const():
        return int(np.asarray(size.get_tensor_value(as_list=False)).reshape(-1)[0])
    if size.type not in ("Min", "Minimum"):
        return None
    operands = [_uncast(operand) for operand in size.inputs]
    for upper, other in (operands, reversed(operands)):
        if not upper.is_const() or other.type not in ("Max", "Maximum"):
            continue
        limit = _number_of_bins(upper)
        floors = [_number_of_bins(each) for each in other.inputs if _uncast(each).is_const()]
        if limit is not None and any(floor is not None and floor >= limit for floor in floors):
            return limit
    return None


def _uncast(node: Any) -> Any:
    while node.type in ("Cast", "Identity"):
        node = node.inputs[0]
    return node
