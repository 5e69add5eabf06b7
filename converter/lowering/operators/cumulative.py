"""Cumulative products, which ONNX has only from opset 26 on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converter.lowering.builder import Builder
from converter.lowering.operators.base import UnsupportedLowering

# Up to here the products are taken in steps that double; a Scan takes one element at a time.
_LONGEST_DOUBLED = 256


def cumprod(build: Builder, node: Any) -> Sequence[str]:
    """Cumprod along a constant axis, exclusive or from the end where it says so."""
    x = node.input[0]
    shape = build.shape(x)
    axis_node = node.inputs[1]
    if shape is None or not axis_node.is_const():
        raise UnsupportedLowering(node, "the axis of its product is only known at run time")
    axis = int(np.asarray(axis_node.get_tensor_value(as_list=False)).reshape(-1)[0]) % len(shape)
    exclusive = bool(node.get_attr_value("exclusive", 0))
    reverse = bool(node.get_attr_value("reverse", 0))
    if 0 < shape[axis] <= _LONGEST_DOUBLED:
        return [_doubled(build, x, axis, shape[axis], exclusive=exclusive, reverse=reverse)]
    return [_walked(build, x, axis, exclusive=exclusive, reverse=reverse)]


def _doubled(
    build: Builder, x: str, axis: int, size: int, *, exclusive: bool, reverse: bool
) -> str:
    """Multiply with itself moved by 1, 2, 4, …; ones come in at the end that it leaves."""
    if exclusive:
        x = _moved(build, x, axis, 1, reverse)
    step = 1
    while step < size:
        x = build.op("Mul", x, _moved(build, x, axis, step, reverse))
        step *= 2
    return x


def _moved(build: Builder, x: str, axis: int, step: int, reverse: bool) -> str:
    begin, end = (step, np.iinfo(np.int64).max) if reverse else (0, -step)
    kept = build.op("Slice", x, *(build.constant([value]) for value in (begin, end, axis)))
    rank = len(build.shape(x) or ())
    pads = [0] * (2 * rank)
    pads[axis + rank * reverse] = step
    return build.op("Pad", kept, build.constant(pads), build.scalar(1, like=x))


def _walked(build: Builder, x: str, axis: int, *, exclusive: bool, reverse: bool) -> str:
    shape = build.op("Shape", x)
    rank = len(build.shape(x) or ())
    others = build.constant([i for i in range(rank) if i != axis])
    one = build.scalar(1, like=x)
    start = build.op("Expand", one, build.op("Gather", shape, others, axis=0))
    known = build.shape(x) or []
    build.set_shape(start, [*known[:axis], *known[axis + 1 :]])

    def step(inner: Builder, state: list[str], element: str) -> tuple[Sequence[str], str]:
        product = inner.op("Mul", state[0], element)
        return [product], state[0] if exclusive else product

    return build.scan([start], x, step, axis=axis, reverse=reverse)
