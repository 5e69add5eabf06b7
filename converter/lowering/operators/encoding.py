"""One-hot vectors, distinct values, and blocks of pixels as channels, in every element type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converter.lowering.builder import Builder

_FLOAT, _INT64, _STRING, _DOUBLE = 1, 7, 8, 11
_UNSIGNED = {2, 4, 12, 13}


def one_hot(build: Builder, node: Any) -> Sequence[str]:
    """OneHot: indices outside are off everywhere, where ONNX counts negative ones from the end."""
    indices, depth, on, off = node.input
    axis = int(node.get_attr_value("axis", -1))
    signed = build.dtype(indices) not in _UNSIGNED
    dtype = build.dtype(on)
    indices = build.op("Cast", indices, to=_INT64)
    depth = build.op("Cast", depth, to=_INT64)
    scalar = build.shape(node.input[0]) == []
    if signed:
        negative = build.op("Less", indices, build.constant(0))
        indices = build.op("Where", negative, depth, indices)
    if scalar:
        indices, axis = build.unsqueeze(indices, 0), -1
    working = _FLOAT if build.numpy_type(on).kind == "f" else _INT64
    values = build.op(
        "Concat",
        *(build.reshape(build.op("Cast", each, to=working), [1]) for each in (off, on)),
        axis=0,
    )
    hot = build.op("OneHot", indices, build.reshape(depth, [1]), values, axis=axis)
    if scalar:
        hot = build.squeeze(hot, 0)
    return [hot if dtype == working else build.op("Cast", hot, to=dtype)]


def unique(build: Builder, node: Any) -> Sequence[str]:
    """Unique and UniqueWithCounts: distinct values as they come, and which of them each one is."""
    x = node.input[0]
    dtype = build.dtype(x)
    kept = dtype in (_FLOAT, _INT64, _STRING, _DOUBLE)
    wide = _FLOAT if build.numpy_type(x).kind == "f" else _INT64
    values, _, places, counts = build.ops(
        "Unique", 4, x if kept else build.op("Cast", x, to=wide), sorted=0
    )
    outputs = [values if kept else build.op("Cast", values, to=dtype)]
    numbers = [places, counts][: len(node.output) - 1]
    types = [build.dtype(each) for each in node.output[1:]]
    return outputs + [
        build.op("Cast", each, to=to) for each, to in zip(numbers, types, strict=True)
    ]


def depth_to_space(build: Builder, node: Any) -> Any:
    """DepthToSpace of what is no float, channels last: a matter of axes."""
    if _is_float(build, node) or _layout(node) != "NHWC":
        return NotImplemented
    x, block = node.input[0], int(node.get_attr_value("block_size"))
    rows, columns, channels = (build.sizes(x, axis, axis + 1) for axis in (1, 2, 3))
    less = build.op("Div", channels, build.constant([block * block]))
    parts = [build.sizes(x, 0, 3), build.constant([block, block]), less]
    x = build.op("Reshape", x, build.op("Concat", *parts, axis=0))
    x = build.op("Transpose", x, perm=[0, 1, 3, 2, 4, 5])
    times = build.constant([block])
    parts = [build.sizes(x, 0, 1), *(build.op("Mul", size, times) for size in (rows, columns))]
    return [build.op("Reshape", x, build.op("Concat", *parts, less, axis=0))]


def space_to_depth(build: Builder, node: Any) -> Any:
    """SpaceToDepth of what is no float, channels last."""
    if _is_float(build, node) or _layout(node) != "NHWC":
        return NotImplemented
    x, block = node.input[0], int(node.get_attr_value("block_size"))
    by = build.constant([block])
    rows, columns = (build.op("Div", build.sizes(x, axis, axis + 1), by) for axis in (1, 2))
    channels = build.sizes(x, 3, 4)
    parts = [build.sizes(x, 0, 1), rows, by, columns, by, channels]
    x = build.op("Reshape", x, build.op("Concat", *parts, axis=0))
    x = build.op("Transpose", x, perm=[0, 1, 3, 2, 4, 5])
    more = build.op("Mul", channels, build.constant([block * block]))
    parts = [build.sizes(x, 0, 1), rows, columns, more]
    return [build.op("Reshape", x, build.op("Concat", *parts, axis=0))]


def top_k(build: Builder, node: Any) -> Sequence[str]:
    """TopKV2, whole numbers as whole numbers: as floats, large ones would be alike."""
    x, k = node.input
    dtype = build.dtype(x)
    kind = np.dtype(build.numpy_type(x)).kind
    kept = dtype in (_FLOAT, _INT64, _DOUBLE, 6)
    wide = x if kept else build.op("Cast", x, to=_INT64 if kind in "iub" else _FLOAT)
    count = build.reshape(build.op("Cast", k, to=_INT64), [1])
    ordered = int(node.get_attr_value("sorted", 1))
    values, places = build.ops("TopK", 2, wide, count, axis=-1, sorted=ordered)
    places_type = build.dtype(node.output[1])
    return [
        values if kept else build.op("Cast", values, to=dtype),
        build.op("Cast", places, to=places_type),
    ]


def _is_float(build: Builder, node: Any) -> bool:
    return build.dtype(node.input[0]) == _FLOAT


def _layout(node: Any) -> str:
    value = node.get_attr_value("data_format") or b"NHWC"
    return value.decode() if isinstance(value, bytes) else str(value)
