"""The sign bit of floats, which Keras reads to tell -0 from 0; ONNX reads no bits of floats.

``keras.ops.signbit`` is ``bitcast(x) & mask < 0``. ``argmax`` and ``argmin`` of floats lower
negative zeros a little first, so that they count as less than zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converter.lowering.builder import Builder

_SIGN_MASK = np.iinfo(np.int32).min
_MOVES = {"Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
# Exponentials are positive. A sum is -0 only where every addend is, which is no number's
# meaning but the order of an addition, and differs between libraries.
_NEVER_NEGATIVE_ZERO = {"Abs", "Conv", "Exp", "Gemm", "MatMul", "Sigmoid", "Softmax", "Softplus"}


def less(build: Builder, node: Any) -> Any:
    """Less, where it asks for the sign bit of a float."""
    tensor = _read_bits(node)
    if tensor is None:
        return NotImplemented
    zero = build.scalar(0, like=tensor)
    negative_zero = build.op(
        "And",
        build.op("Equal", tensor, zero),
        build.op("Less", build.op("Reciprocal", tensor), zero),
    )
    return [build.op("Or", build.op("Less", tensor, zero), negative_zero)]


def arg(build: Builder, node: Any) -> Any:
    """ArgMax and ArgMin, where negative zeros were lowered: in four nodes, or none at all."""
    flattened = node.inputs[0].type == "Reshape"
    lowered = node.inputs[0].inputs[0] if flattened else node.inputs[0]
    if lowered.type != "Where" or not _is_least_normal(lowered.inputs[1]):
        return NotImplemented
    tensor = lowered.input[2]
    if not _is_never_negative_zero(lowered.inputs[2]):
        zero = build.scalar(0, like=tensor)
        # 1 / 0 is above zero and 1 / -0 is below.
        side = build.op("Clip", build.op("Reciprocal", tensor), lowered.input[1], zero)
        tensor = build.op("Where", build.op("Equal", tensor, zero), side, tensor)
    if flattened:
        tensor = build.op("Reshape", tensor, node.inputs[0].input[1])
    build.replace_input(0, tensor)
    return NotImplemented


def _read_bits(node: Any) -> str | None:
    """The tensor whose sign bit is asked for by ``bitcast(x) & mask < 0``."""
    masked, zero = node.inputs
    if masked.type != "BitwiseAnd" or not _is_number(zero, 0):
        return None
    for bits, mask in (masked.inputs, reversed(masked.inputs)):
        if bits.type == "Bitcast" and _is_number(mask, _SIGN_MASK):
            return str(bits.input[0])
    return None


def _is_never_negative_zero(node: Any) -> bool:
    while node.type in _MOVES:
        node = node.inputs[0]
    if node.type == "Add":
        constants = [each for each in node.inputs if each.is_const()]
        values = [each.get_tensor_value(as_list=False) for each in constants]
        return any(not np.any((v == 0) & np.signbit(v)) for v in values)
    return node.type in _NEVER_NEGATIVE_ZERO


def _is_least_normal(node: Any) -> bool:
    return _is_number(node, float(-np.finfo(np.float32).tiny))


def _is_number(node: Any, number: float) -> bool:
    if node is None or not node.is_const():
        return False
    values = node.get_tensor_value(as_list=False)
    return bool(values.size == 1 and values.reshape(-1)[0] == number)
