"""Padding with constants or with what stands near the edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quantizers.training.operators.base import Call, Operator
from quantizers.training.tensors import Tensor, sizes_of


def pad(call: Call) -> Sequence[Tensor]:
    """With a constant, a reflection or the edge behind and before each axis; negative pads crop."""
    import tensorflow as tf

    x = call.first(0)
    rank = len(x.shape)
    given = call.numbers(1) if call.optional(1) is not None else call.attribute("pads")
    axes = (
        [axis % rank for axis in call.integers(3, "axes")]
        if call.optional(3) is not None
        else (list(range(rank)))
    )
    pads: list[tuple[Any, Any]] = [(0, 0)] * rank
    for place, axis in enumerate(axes):
        pads[axis] = (given[place], given[place + len(axes)])
    if all(isinstance(size, int) for pair in pads for size in pair):
        x = x[tuple(_crop(before, behind) for before, behind in pads)]
        pads = [(max(before, 0), max(behind, 0)) for before, behind in pads]
    mode = call.attribute("mode", "constant")
    if mode == "constant":
        value = call.first(2) if call.optional(2) is not None else call.attribute("value", 0)
        value = tf.reshape(tf.cast(value, x.dtype), [])
        return [Tensor(tf.pad(x, pads, constant_values=value))]
    if mode == "reflect":
        return [Tensor(tf.pad(x, pads, "REFLECT"))]
    return [Tensor(_by_gathering(call, x, pads, mode))]


def _crop(before: int, behind: int) -> slice:
    return slice(-before if before < 0 else None, behind if behind < 0 else None)


def _by_gathering(call: Call, x: Any, pads: Sequence[tuple[Any, Any]], mode: str) -> Any:
    """Padding by ``edge`` or ``wrap``: each place reads another one."""
    import tensorflow as tf

    for axis, (before, behind) in enumerate(pads):
        if isinstance(before, int) and isinstance(behind, int) and not before and not behind:
            continue
        size = sizes_of(x)[axis]
        places = tf.range(-before, size + behind)
        if mode == "edge":
            places = tf.clip_by_value(places, 0, size - 1)
        elif mode == "wrap":
            places = tf.math.floormod(places, size)
        else:
            raise call.refuse(f"its mode is {mode!r}")
        x = tf.gather(x, places, axis=axis)
    return x


OPERATORS: dict[str, Operator] = {
    "Pad": pad,
}
