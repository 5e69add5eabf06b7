"""Writing at places that indices name: what of several writes to one place comes out differs.

TensorFlow adds up, takes the extreme, or keeps one of them; ONNX leaves it open below opset 16
(18 for extremes), where its ScatterND has no reduction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converter.lowering.builder import Builder
from converter.lowering.operators.base import OperatorLowering, UnsupportedLowering

_INT64 = 7
_OPSETS = {"add": 16, "max": 18, "min": 18}
_REDUCTIONS = {"TensorScatterAdd": "add", "TensorScatterMax": "max", "TensorScatterMin": "min"}


def scatter(build: Builder, node: Any) -> Sequence[str]:
    """ScatterNd: the sum of all that is written to each place, zero where nothing is."""
    indices, updates, shape = node.input
    empty = build.op("Expand", build.scalar(0, like=updates), build.op("Cast", shape, to=_INT64))
    return [_write(build, node, (empty, indices, updates), "add")]


def update(build: Builder, node: Any) -> Sequence[str]:
    """TensorScatterUpdate: the last of several writes to one place stays."""
    tensor, indices, updates = node.input
    return [build.op("ScatterND", tensor, build.op("Cast", indices, to=_INT64), updates)]


def reduce(build: Builder, node: Any) -> Sequence[str]:
    """TensorScatterAdd, TensorScatterMax and TensorScatterMin."""
    tensor, indices, updates = node.input
    how = _REDUCTIONS[node.type]
    return [_write(build, node, (tensor, indices, updates), how)]


def subtract(build: Builder, node: Any) -> Sequence[str]:
    """TensorScatterSub: adding what is negated."""
    tensor, indices, updates = node.input
    negated = build.op("Neg", updates)
    return [_write(build, node, (tensor, indices, negated), "add")]


def _write(build: Builder, node: Any, operands: tuple[str, str, str], how: str) -> str:
    tensor, indices, updates = operands
    places = build.op("Cast", indices, to=_INT64)
    if build.opset >= _OPSETS[how]:
        return build.op("ScatterND", tensor, places, updates, reduction=how)
    source = node.inputs[list(node.input).index(indices)]
    if not _all_differ(source):
        raise UnsupportedLowering(
            node,
            f"several writes to one place are put together from opset {_OPSETS[how]} on "
            f"(--opset {_OPSETS[how]})",
        )
    before = build.op("GatherND", tensor, places)
    joined = build.op({"add": "Add", "max": "Max", "min": "Min"}[how], before, updates)
    return build.op("ScatterND", tensor, places, joined)


def _all_differ(source: Any) -> bool:
    """Whether the places are constants, each named once."""
    if not source.is_const():
        return False
    places = source.get_tensor_value(as_list=False)
    rows = places.reshape(-1, places.shape[-1])
    return bool(len(np.unique(rows, axis=0)) == len(rows))


SCATTERS: dict[str, OperatorLowering] = {
    "ScatterNd": scatter,
    "TensorScatterUpdate": update,
    "TensorScatterSub": subtract,
    **dict.fromkeys(_REDUCTIONS, reduce),
}
