"""Places in sorted numbers, and whether a class is among the most likely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converter.lowering.builder import Builder

_INT32, _INT64 = 6, 7


def lower_bound(build: Builder, node: Any) -> Sequence[str]:
    """LowerBound: how many of a row of sorted numbers are less than each value."""
    return [_counted(build, node, "Less")]


def upper_bound(build: Builder, node: Any) -> Sequence[str]:
    """UpperBound: how many are not greater."""
    return [_counted(build, node, "LessOrEqual")]


def in_top_k(build: Builder, node: Any) -> Sequence[str]:
    """InTopKV2: whether fewer than ``k`` classes are more likely than the target.

    It is not where a prediction is no number or the target no class.
    """
    predictions, targets, k = node.input
    targets = build.op("Cast", targets, to=_INT64)
    classes = build.sizes(predictions, 1, 2)
    last = build.op("Sub", classes, build.constant([1]))
    known = build.op(
        "Equal", targets, build.op("Min", build.op("Max", targets, _zero(build)), last)
    )
    place = build.unsqueeze(build.op("Where", known, targets, _zero(build)), 1)
    wanted = build.op("GatherElements", predictions, place, axis=1)
    limit = build.scalar(np.inf, like=predictions)
    finite = build.op("Less", build.op("Abs", predictions), limit)
    # What is not finite counts as many: no ``k`` is above it.
    above = build.op("Cast", build.op("Greater", predictions, wanted), to=_INT64)
    many = build.constant(2**32)
    above = build.reduce("ReduceSum", build.op("Where", finite, above, many), [1])
    few = build.op("Less", above, build.op("Cast", k, to=_INT64))
    return [build.op("And", few, known)]


def list_difference(build: Builder, node: Any) -> Sequence[str]:
    """ListDiff: the values of one list that another lacks, and their places."""
    values, others = node.input
    equal = build.op("Equal", build.unsqueeze(values, 1), build.unsqueeze(others, 0))
    hits = build.reduce("ReduceSum", build.op("Cast", equal, to=_INT64), [1])
    kept = build.op("Equal", hits, _zero(build))
    places = build.squeeze(build.op("NonZero", kept), 0)
    return [
        build.op("Compress", values, kept, axis=0),
        build.op("Cast", places, to=build.dtype(node.output[1])),
    ]


def _counted(build: Builder, node: Any, comparison: str) -> str:
    numbers, values = node.input
    below = build.op(comparison, build.unsqueeze(numbers, 1), build.unsqueeze(values, 2))
    dtype = build.dtype(node.output[0])
    return build.reduce("ReduceSum", build.op("Cast", below, to=dtype), [2])


def _zero(build: Builder) -> str:
    return build.constant([0])
