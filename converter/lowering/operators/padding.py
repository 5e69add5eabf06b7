"""Padding with a constant, of what is no float: tf2onnx's constant always is one."""

from __future__ import annotations

from typing import Any

from converter.lowering.builder import Builder

_INT64 = 7


def pad(build: Builder, node: Any) -> Any:
    """Pad and PadV2."""
    x, paddings, *value = node.input
    if build.numpy_type(x).kind not in "iub":
        return NotImplemented
    source = node.inputs[1]
    if source.is_const():
        ends = build.constant(source.get_tensor_value(as_list=False).T.reshape(-1))
    else:
        ends = build.op("Transpose", build.op("Cast", paddings, to=_INT64), perm=[1, 0])
        ends = build.reshape(ends, [-1])
    return [build.op("Pad", x, ends, value[0] if value else build.scalar(0, like=x))]
