"""Colours: RGB and HSV, and what TensorFlow adjusts between the two.

The formulas are those of TensorFlow's kernels (colorspace_op.h); channels come last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from converter.lowering.builder import Builder


def rgb_to_hsv(build: Builder, node: Any) -> Sequence[str]:
    """RGBToHSV; hue is a share of the circle."""
    return [_to_hsv(build, node.input[0])]


def hsv_to_rgb(build: Builder, node: Any) -> Sequence[str]:
    """HSVToRGB."""
    return [_to_rgb(build, node.input[0])]


def adjust_saturation(build: Builder, node: Any) -> Sequence[str]:
    """AdjustSaturation: the saturation times a factor, held in 0 .. 1."""
    image, scale = node.input
    hue, saturation, value = _channels(build, _to_hsv(build, image))
    scaled = build.op("Mul", saturation, scale)
    saturation = build.op("Clip", scaled, build.scalar(0, like=image), build.scalar(1, like=image))
    return [_to_rgb(build, build.op("Concat", hue, saturation, value, axis=-1))]


def adjust_hue(build: Builder, node: Any) -> Sequence[str]:
    """AdjustHue: the hue turned by a share of the circle."""
    image, delta = node.input
    hue, saturation, value = _channels(build, _to_hsv(build, image))
    turned = build.op("Add", hue, delta)
    turned = build.op("Sub", turned, build.op("Floor", turned))
    return [_to_rgb(build, build.op("Concat", turned, saturation, value, axis=-1))]


def _to_hsv(build: Builder, image: str) -> str:
    red, green, blue = _channels(build, image)
    zero, one = build.scalar(0, like=image), build.scalar(1, like=image)
    value = build.reduce("ReduceMax", image, [-1], keepdims=True)
    spread = build.op("Sub", value, build.reduce("ReduceMin", image, [-1], keepdims=True))
    saturation = build.op("Div", spread, build.op("Where", _equal(build, value, zero), one, value))
    saturation = build.op("Where", build.op("Greater", value, zero), saturation, zero)
    flat = _equal(build, spread, zero)
    sixth = build.op("Div", build.scalar(1 / 6, like=image), build.op("Where", flat, one, spread))

    def turned(first: str, second: str, begin: float) -> str:
        part = build.op("Mul", sixth, build.op("Sub", first, second))
        return part if not begin else build.op("Add", part, build.scalar(begin, like=image))

    hue = build.op(
        "Where",
        _equal(build, red, value),
        turned(green, blue, 0),
        build.op(
            "Where",
            _equal(build, green, value),
            turned(blue, red, 2 / 6),
            turned(red, green, 4 / 6),
        ),
    )
    hue = build.op("Where", flat, zero, hue)
    hue = build.op("Where", build.op("Less", hue, zero), build.op("Add", hue, one), hue)
    return build.op("Concat", hue, saturation, value, axis=-1)


def _to_rgb(build: Builder, image: str) -> str:
    hue, saturation, value = _channels(build, image)
    zero, one = build.scalar(0, like=image), build.scalar(1, like=image)
    six = build.op("Mul", hue, build.scalar(6, like=image))
    # Each channel is a trapezoid over the circle: red |6h - 3| - 1, green and blue 2 - |6h - …|.
    dtype = ir.DataType(build.dtype(image)).numpy()
    centers = build.constant([3, 2, 4], dtype)
    signs, offsets = build.constant([1, -1, -1], dtype), build.constant([-1, 2, 2], dtype)
    distance = build.op("Abs", build.op("Sub", six, centers))
    full = build.op("Clip", build.op("Add", build.op("Mul", distance, signs), offsets), zero, one)
    pale = build.op("Mul", saturation, build.op("Sub", full, one))
    return build.op("Mul", build.op("Add", pale, one), value)


def _channels(build: Builder, image: str) -> list[str]:
    count = {"num_outputs": 3} if build.opset >= 18 else {}
    return build.ops("Split", 3, image, axis=-1, **count)


def _equal(build: Builder, a: str, b: str) -> str:
    return build.op("Equal", a, b)
