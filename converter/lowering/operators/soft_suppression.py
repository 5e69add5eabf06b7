"""Suppression that lowers the scores of boxes that overlap a better one (Soft-NMS).

Bodla et al., Soft-NMS: Improving Object Detection With One Line of Code, ICCV 2017. ONNX's
operator only drops boxes, so this is a loop: the likeliest box is taken, and every other score is
multiplied by exp(-overlap^2 / (2 sigma)). TensorFlow looks at no threshold of overlap then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converter.lowering.builder import Builder

_FLOAT, _INT32, _INT64 = 1, 6, 7


def soft_suppressed(build: Builder, node: Any) -> Sequence[str]:
    """NonMaxSuppressionV5 with a sigma: indices, the scores that are left, and their number."""
    dtype = build.dtype(node.input[1])
    boxes, scores, least, sigma = (
        build.op("Cast", node.input[place], to=_FLOAT) for place in (0, 1, 4, 5)
    )
    limit = build.reshape(build.op("Cast", node.input[2], to=_INT64), [1])
    corners = _corners(build, boxes)
    scale = build.op("Div", build.constant(-0.5, np.float32), sigma)
    lowest = build.constant(-np.inf, np.float32)
    places = build.op("Range", build.constant(0), _count(build, scores), build.constant(1))

    slots = build.op("Range", build.constant(0), build.squeeze(limit, 0), build.constant(1))

    def step(inner: Builder, number: str, state: list[str]) -> Sequence[str]:
        left, taken, kept, found = state
        best = inner.op("ArgMax", left, axis=0, keepdims=0)
        score = inner.op("Gather", left, best, axis=0)
        good = inner.op("Greater", score, least)
        overlap = _overlap(inner, corners, inner.op("Gather", corners, best, axis=0))
        weight = inner.op("Exp", inner.op("Mul", scale, inner.op("Mul", overlap, overlap)))
        # Minus infinity is the score of what was taken, and stays it.
        gone = inner.op("Or", inner.op("Equal", places, best), inner.op("Equal", left, lowest))
        here = inner.op("And", inner.op("Equal", slots, number), good)
        return (
            inner.op("Where", gone, lowest, inner.op("Mul", left, weight)),
            inner.op("Where", here, best, taken),
            inner.op("Where", here, score, kept),
            inner.op("Add", found, inner.op("Cast", good, to=_INT64)),
        )

    # Scores only fall, so what is good enough comes first, and each step has its own slot.
    _, taken, kept, found = build.loop(
        build.op("Min", build.squeeze(limit, 0), _count(build, scores)),
        [
            scores,
            build.op("Expand", build.constant(0), limit),
            build.op("Expand", build.constant(0, np.float32), limit),
            build.constant(0),
        ],
        step,
    )
    if not node.get_attr_value("pad_to_max_output_size", 0):
        end = build.reshape(found, [1])
        taken, kept = (build.op("Slice", each, build.constant([0]), end) for each in (taken, kept))
    return [
        build.op("Cast", taken, to=_INT32),
        build.op("Cast", kept, to=dtype),
        build.op("Cast", found, to=_INT32),
    ]


def _count(build: Builder, vector: str) -> str:
    return build.squeeze(build.op("Shape", vector), 0)


def _half(build: Builder, boxes: str, begin: int) -> str:
    """The first or the second corner along the last axis."""
    begins, ends, axes = (build.constant([value]) for value in (begin, begin + 2, -1))
    return build.op("Slice", boxes, begins, ends, axes)


def _corners(build: Builder, boxes: str) -> str:
    """Boxes of two corners in any order, the lower one first."""
    first, second = _half(build, boxes, 0), _half(build, boxes, 2)
    ordered = build.op("Min", first, second), build.op("Max", first, second)
    return build.op("Concat", *ordered, axis=1)


def _overlap(build: Builder, boxes: str, box: str) -> str:
    """Intersection over union of each of ``boxes`` with ``box``; zero where one is empty."""
    halves = [(_half(build, each, 0), _half(build, each, 2)) for each in (boxes, box)]
    zero = build.constant(0, np.float32)
    low = build.op("Max", halves[0][0], halves[1][0])
    high = build.op("Min", halves[0][1], halves[1][1])
    shared = _area(build, build.op("Max", build.op("Sub", high, low), zero))
    one, other = (_area(build, build.op("Sub", end, begin)) for begin, end in halves)
    union = build.op("Sub", build.op("Add", one, other), shared)
    full = build.op("And", build.op("Greater", one, zero), build.op("Greater", other, zero))
    return build.op("Where", full, build.op("Div", shared, union), zero)


def _area(build: Builder, sides: str) -> str:
    return build.reduce("ReduceProd", sides, [-1])
