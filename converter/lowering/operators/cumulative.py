"""Cumulative products, which ONNX has only from opset 26 on, and logarithms of sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converter.lowering.builder import Builder
from converter.lowering.operators.base import UnsupportedLowering

# Up to here the products are taken in steps that double; a Scan takes one element at a time.
_LONGEST_DOUBLED = 256


@dataclass(frozen=True)
class _Walk:
    """What is put together along an axis: ``start`` changes nothing."""

    join: Callable[[Builder, str, str], str]
    start: float
    axis: int
    exclusive: bool
    reverse: bool


def cumprod(build: Builder, node: Any) -> Sequence[str]:
    """Cumprod along a constant axis, exclusive or from the end where it says so."""
    return [_cumulated(build, node, lambda inner, a, b: inner.op("Mul", a, b), 1.0)]


def cumulative_logsumexp(build: Builder, node: Any) -> Sequence[str]:
    """CumulativeLogsumexp; before the first there is the lowest number, not minus infinity."""
    lowest = float(np.finfo(build.numpy_type(node.input[0])).min)
    return [_cumulated(build, node, _log_add_exp, lowest)]


def _log_add_exp(build: Builder, a: str, b: str) -> str:
    larger = build.op("Max", a, b)
    infinite = build.op("Equal", larger, build.scalar(float("-inf"), like=a))
    larger = build.op("Where", infinite, build.scalar(0, like=a), larger)
    parts = [build.op("Exp", build.op("Sub", each, larger)) for each in (a, b)]
    return build.op("Add", build.op("Log", build.op("Add", *parts)), larger)


def _cumulated(
    build: Builder, node: Any, join: Callable[[Builder, str, str], str], start: float
) -> str:
    x, axis_node = node.input[0], node.inputs[1]
    shape = build.shape(x)
    if shape is None or not axis_node.is_const():
        raise UnsupportedLowering(node, "its axis is only known at run time")
    axis = int(np.asarray(axis_node.get_tensor_value(as_list=False)).reshape(-1)[0]) % len(shape)
    exclusive, reverse = (bool(node.get_attr_value(each, 0)) for each in ("exclusive", "reverse"))
    walk = _Walk(join, start, axis, exclusive, reverse)
    known = 0 < shape[axis] <= _LONGEST_DOUBLED
    return _doubled(build, x, walk, shape[axis]) if known else _walked(build, x, walk)


def _doubled(build: Builder, x: str, walk: _Walk, size: int) -> str:
    """Join with itself moved by 1, 2, 4, …; the start comes in at the end that it leaves."""
    if walk.exclusive:
        x = _moved(build, x, walk, 1)
    step = 1
    while step < size:
        x = walk.join(build, x, _moved(build, x, walk, step))
        step *= 2
    return x


def _moved(build: Builder, x: str, walk: _Walk, step: int) -> str:
    begin, end = (step, np.iinfo(np.int64).max) if walk.reverse else (0, -step)
    kept = build.op("Slice", x, *(build.constant([value]) for value in (begin, end, walk.axis)))
    rank = len(build.shape(x) or ())
    pads = [0] * (2 * rank)
    pads[walk.axis + rank * walk.reverse] = step
    return build.op("Pad", kept, build.constant(pads), build.scalar(walk.start, like=x))


def _walked(build: Builder, x: str, walk: _Walk) -> str:
    shape = build.op("Shape", x)
    rank = len(build.shape(x) or ())
    others = build.constant([i for i in range(rank) if i != walk.axis])
    first = build.scalar(walk.start, like=x)
    start = build.op("Expand", first, build.op("Gather", shape, others, axis=0))
    known = build.shape(x) or []
    build.set_shape(start, [*known[: walk.axis], *known[walk.axis + 1 :]])

    def step(inner: Builder, state: list[str], element: str) -> tuple[Sequence[str], str]:
        joined = walk.join(inner, state[0], element)
        return [joined], state[0] if walk.exclusive else joined

    return build.scan([start], x, step, axis=walk.axis, reverse=walk.reverse)
