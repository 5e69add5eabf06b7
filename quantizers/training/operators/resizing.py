"""Resize and Upsample: each axis on its own, by weights of a few places on it.

https://onnx.ai/onnx/operators/onnx__Resize.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantizers.training.operators.base import Call, Operator
from quantizers.training.tensors import Tensor, sizes_of, static

# Since this opset Resize has a region and sizes among its inputs, and says how it counts places.
_WITH_COORDINATES = 11


@dataclass(frozen=True)
class Rule:
    """How places of the result are found on the input.

    ``coordinates`` and ``nearest``: ONNX' names of how; ``slope``: the cubic's parameter;
    ``inside``: places outside get no weight, instead of the edge's value.
    """

    mode: str
    coordinates: str
    nearest: str
    slope: float = -0.75
    inside: bool = False


def resize(call: Call) -> Sequence[Tensor]:
    """Other sizes by the nearest element, or by linear or cubic interpolation."""
    if call.opset < _WITH_COORDINATES:
        return _resized(call, _old_rule(call), call[1].first, None)
    for name, usual in (("antialias", 0), ("keep_aspect_ratio_policy", "stretch")):
        if call.attribute(name, usual) != usual:
            raise call.refuse(f"its attribute {name} is {call.attribute(name)}")
    rule = Rule(
        call.attribute("mode", "nearest"),
        call.attribute("coordinate_transformation_mode", "half_pixel"),
        call.attribute("nearest_mode", "round_prefer_floor"),
        call.attribute("cubic_coeff_a", -0.75),
        bool(call.attribute("exclude_outside", 0)),
    )
    if rule.coordinates not in _PLACES:
        raise call.refuse(f"its coordinate_transformation_mode is {rule.coordinates}")
    scales, sizes = call.optional(2), call.optional(3)
    if sizes is not None and sizes.first.shape[0] != 0:
        return _resized(call, rule, None, sizes.first)
    return _resized(call, rule, call[2].first if scales is None else scales.first, None)


def upsample(call: Call) -> Sequence[Tensor]:
    """Resize as it was before opset 10."""
    given = call.attribute("scales")
    scales = np.asarray(given, np.float32) if given is not None else call.first(1)
    return _resized(call, _old_rule(call), scales, None)


def _old_rule(call: Call) -> Rule:
    return Rule(call.attribute("mode", "nearest"), "asymmetric", "floor")


def _resized(call: Call, rule: Rule, scales: Any, sizes: Any) -> Sequence[Tensor]:
    x = call[0]
    axes = list(call.attribute("axes") or range(x.rank))
    data = x.data
    for place, axis in enumerate(axes):
        where = x.axis(axis)
        size = sizes_of(data)[where]
        scale, length = _scale_and_length(scales, sizes, place, size)
        if _is_one(scale) and rule.coordinates != "half_pixel_symmetric":
            continue
        data = _along(data, where, rule, (size, scale, length))
    return [x.like(data)]


def _scale_and_length(scales: Any, sizes: Any, place: int, size: Any) -> tuple[Any, Any]:
    """The scale of an axis of ``size``, as float32, and how long it becomes."""
    import tensorflow as tf

    if sizes is not None:
        length = _number(sizes[place])
        if isinstance(length, int) and isinstance(size, int):
            return np.float32(length / size), length
        length = tf.cast(length, tf.int32)
        return tf.cast(length, tf.float32) / tf.cast(size, tf.float32), length
    scale = _number(scales[place])
    if isinstance(scale, float) and isinstance(size, int):
        return np.float32(scale), int(np.floor(np.float32(scale) * size))
    scale = tf.cast(scale, tf.float32)
    if _is_one(scale):
        return scale, size
    return scale, tf.cast(tf.floor(scale * tf.cast(size, tf.float32)), tf.int32)


def _number(scalar: Any) -> Any:
    known = static(scalar)
    return scalar if known is None else known.item()


def _is_one(scale: Any) -> bool:
    known = static(scale)
    return known is not None and bool(known == 1)


def _along(data: Any, axis: int, rule: Rule, sizes: tuple[Any, Any, Any]) -> Any:
    """``sizes``: how long the axis is, its scale, and how long it becomes."""
    import tensorflow as tf

    size, scale, length = sizes
    is_known = isinstance(size, int) and isinstance(length, int)
    xp: Any = np if is_known else tf
    numbers = np.arange(length) if is_known else tf.range(length)
    numbers = numbers.astype(np.float32) if is_known else tf.cast(numbers, tf.float32)
    places = _PLACES[rule.coordinates](xp, numbers, size, scale, length)
    if rule.mode == "nearest":
        taps = [(_ROUNDED[rule.nearest](xp, places), None)]
    elif rule.mode == "linear":
        taps = _linear(xp, places, size)
    else:
        taps = _cubic(xp, places, size, rule)
    total = None
    for place, weight in taps:
        inside = xp.maximum(xp.minimum(place, _float(xp, size) - 1), np.float32(0))
        part = _picked(data, axis, inside, size)
        if weight is not None:
            shape = [1] * len(data.shape)
            shape[axis] = -1
            part = part * tf.cast(tf.reshape(weight, shape), data.dtype)
        total = part if total is None else total + part
    return total


def _picked(data: Any, axis: int, places: Any, size: Any) -> Any:
    import tensorflow as tf

    if isinstance(places, np.ndarray) and isinstance(size, int):
        each = len(places) // size
        if each and np.array_equal(places, np.arange(size).repeat(each)):
            return tf.repeat(data, each, axis)  # has a far faster gradient than tf.gather
    return tf.gather(data, tf.cast(places, tf.int32), axis=axis)


def _linear(xp: Any, places: Any, size: Any) -> list[tuple[Any, Any]]:
    places = xp.maximum(xp.minimum(places, _float(xp, size) - 1), np.float32(0))
    low = xp.floor(places)
    share = places - low
    return [(low, 1 - share), (low + 1, share)]


def _cubic(xp: Any, places: Any, size: Any, rule: Rule) -> list[tuple[Any, Any]]:
    """The convolution kernel of Keys over four places."""
    low = xp.floor(places)
    taps = []
    for offset in (-1, 0, 1, 2):
        where = low + offset
        weight = _keys(xp, xp.abs(places - where), rule.slope)
        if rule.inside:
            outside = xp.where((where < 0) | (where >= _float(xp, size)), 0.0, 1.0)
            weight = weight * outside
        taps.append((where, weight))
    if not rule.inside:
        return taps
    total = sum(weight for _, weight in taps)
    return [(where, weight / total) for where, weight in taps]


def _keys(xp: Any, x: Any, slope: float) -> Any:
    near = ((slope + 2) * x - (slope + 3)) * x * x + 1
    far = slope * (((x - 5) * x + 8) * x - 4)
    return xp.where(x <= 1, near, xp.where(x < 2, far, xp.zeros_like(x)))


def _float(xp: Any, number: Any) -> Any:
    if xp is np:
        return np.float32(number)
    return xp.cast(number, xp.float32)


def _half_pixel(xp: Any, x: Any, size: Any, scale: Any, length: Any) -> Any:
    return (x + np.float32(0.5)) / scale - np.float32(0.5)


def _symmetric(xp: Any, x: Any, size: Any, scale: Any, length: Any) -> Any:
    """As half pixels, about the middle of what the scale alone would give."""
    adjusted = _float(xp, length) / (scale * _float(xp, size))
    offset = _float(xp, size) / 2 * (1 - adjusted)
    return offset + _half_pixel(xp, x, size, scale, length)


def _pytorch(xp: Any, x: Any, size: Any, scale: Any, length: Any) -> Any:
    return xp.where(length > 1, _half_pixel(xp, x, size, scale, length), xp.zeros_like(x))


def _corners(xp: Any, x: Any, size: Any, scale: Any, length: Any) -> Any:
    steps = xp.maximum(_float(xp, length) - 1, np.float32(1))
    return x * (_float(xp, size) - 1) / steps


def _asymmetric(xp: Any, x: Any, size: Any, scale: Any, length: Any) -> Any:
    return x / scale


_PLACES = {
    "align_corners": _corners,
    "asymmetric": _asymmetric,
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _symmetric,
    "pytorch_half_pixel": _pytorch,
}
_ROUNDED = {
    "ceil": lambda xp, x: -xp.floor(-x),
    "floor": lambda xp, x: xp.floor(x),
    "round_prefer_ceil": lambda xp, x: xp.floor(x + np.float32(0.5)),
    "round_prefer_floor": lambda xp, x: -xp.floor(np.float32(0.5) - x),
}

OPERATORS: dict[str, Operator] = {"Resize": resize, "Upsample": upsample}
