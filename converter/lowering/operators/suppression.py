"""Non-maximum suppression by ONNX's operator of that name, and the padding that TensorFlow adds.

Both take the likelier box first, of two alike the first one, and drop boxes that overlap it by
more than the threshold: https://onnx.ai/onnx/operators/onnx__NonMaxSuppression.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converter.lowering.builder import Builder
from converter.lowering.operators.base import OperatorLowering
from converter.lowering.operators.soft_suppression import soft_suppressed

_FLOAT, _INT32, _INT64 = 1, 6, 7
_LOWEST = float(np.finfo(np.float32).min)


def suppressed(build: Builder, node: Any) -> Sequence[str]:
    """NonMaxSuppression V2 to V5 of boxes (boxes, 4): indices, and scores and their number."""
    if _is_soft(node):
        return soft_suppressed(build, node)
    boxes, scores, limit, *thresholds = node.input[:5]
    limit = build.reshape(build.op("Cast", limit, to=_INT64), [1])
    wide = _float(build, scores)
    found = build.op(
        "NonMaxSuppression",
        build.unsqueeze(_float(build, boxes), 0),
        build.unsqueeze(wide, 0, 1),
        limit,
        *(build.reshape(_float(build, each), [1]) for each in thresholds),
    )
    found = build.squeeze(
        build.op("Slice", found, build.constant([2]), build.constant([3]), build.constant([1])), 1
    )
    count = build.op("Shape", found)
    padded = bool(node.get_attr_value("pad_to_max_output_size", 0))
    missing = build.op("Sub", limit, count) if padded else ""
    outputs = [build.op("Cast", _padded(build, found, missing), to=_INT32)]
    if node.type == "NonMaxSuppressionV5":
        outputs.append(_padded(build, build.op("Gather", scores, found, axis=0), missing))
    if node.type in ("NonMaxSuppressionV4", "NonMaxSuppressionV5"):
        outputs.append(build.op("Cast", build.squeeze(count, 0), to=_INT32))
    return outputs


def combined(build: Builder, node: Any) -> Sequence[str]:
    """CombinedNonMaxSuppression: each class by itself, then the likeliest of all classes.

    Boxes are (batch, boxes, 1 or classes, 4), scores (batch, boxes, classes).
    """
    boxes, scores, per_class, total, *thresholds = node.input
    shape = build.shape(boxes)
    shared = shape is not None and shape[2] == 1
    batch, count, classes = (build.sizes(scores, axis, axis + 1) for axis in range(3))
    places = count if shared else build.op("Mul", classes, count)
    scores = build.op("Transpose", scores, perm=[0, 2, 1])
    if shared:
        boxes = build.squeeze(boxes, 2)
        pool = boxes
    else:
        whole = build.op("Concat", batch, count, classes, build.constant([4]), axis=0)
        boxes = build.op("Transpose", build.op("Expand", boxes, whole), perm=[0, 2, 1, 3])
        pool = build.op("Reshape", boxes, _shape(build, batch, places, [4]))
        boxes = build.op("Reshape", boxes, _shape(build, [-1], count, [4]))
        scores = build.op("Reshape", scores, _shape(build, [-1], [1], count))
    per_class, total = (
        build.reshape(build.op("Cast", each, to=_INT64), [1]) for each in (per_class, total)
    )
    found = build.op(
        "NonMaxSuppression", boxes, scores, per_class, *(build.reshape(t, [1]) for t in thresholds)
    )
    kept = build.op("Expand", build.constant(_LOWEST, np.float32), build.op("Shape", scores))
    kept = build.op("ScatterND", kept, found, build.op("GatherND", scores, found))
    kept = build.op("Reshape", kept, _shape(build, batch, [-1]))
    # As many more columns, so that there are always enough to choose from.
    more = build.op("Expand", build.constant(_LOWEST, np.float32), _shape(build, batch, total))
    kept = build.op("Concat", kept, more, axis=1)
    if node.get_attr_value("pad_per_class", 0):
        total = build.op("Min", total, build.op("Mul", per_class, classes))
    best, at = build.ops("TopK", 2, kept, total, axis=1)
    valid = build.op("Greater", best, build.constant(_LOWEST, np.float32))
    at = build.op("Where", valid, at, build.constant(0))
    # Found places count the boxes of one class after those of another.
    box = build.op("Mod", at, places) if shared else at
    chosen = build.op("GatherND", pool, build.unsqueeze(box, 2), batch_dims=1)
    if node.get_attr_value("clip_boxes", 1):
        chosen = build.op("Clip", chosen, *(build.constant(v, np.float32) for v in (0, 1)))
    zero = build.constant(0, np.float32)
    return [
        build.op("Where", build.unsqueeze(valid, 2), chosen, zero),
        build.op("Where", valid, best, zero),
        build.op("Cast", build.op("Div", at, count), to=_FLOAT),
        build.reduce("ReduceSum", build.op("Cast", valid, to=_INT32), [1]),
    ]


def _is_soft(node: Any) -> bool:
    """Whether boxes that overlap lose some of their score, instead of being dropped."""
    if len(node.input) <= 5:
        return False
    sigma = node.inputs[5]
    return not sigma.is_const() or bool(sigma.get_tensor_value(as_list=False).any())


def _padded(build: Builder, vector: str, missing: str) -> str:
    """Zeros after a vector."""
    if not missing:
        return vector
    return build.op("Pad", vector, build.op("Concat", build.constant([0]), missing, axis=0))


def _shape(build: Builder, *parts: str | list[int]) -> str:
    vectors = [build.constant(part) if isinstance(part, list) else part for part in parts]
    return build.op("Concat", *vectors, axis=0)


def _float(build: Builder, tensor: str) -> str:
    return tensor if build.dtype(tensor) == _FLOAT else build.op("Cast", tensor, to=_FLOAT)


SUPPRESSIONS: dict[str, OperatorLowering] = {
    **{f"NonMaxSuppressionV{version}": suppressed for version in (2, 3, 4, 5)},
    "CombinedNonMaxSuppression": combined,
}
