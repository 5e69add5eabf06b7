"""Resizing one axis as a matrix: what TensorFlow's kernels give each input for each output.

The formulas are those of TensorFlow's image kernels (scale_and_translate_op.cc,
resize_area_op.cc, resize_bicubic_op.cc), in float32 as there. They are written once, over
``xp``: numpy where the sizes are known, ``GraphMath`` where they are only known at run time.
Each returns a matrix of shape (outputs, inputs).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

_BICUBIC_TABLE = 1024  # TensorFlow looks the cubic up in a table of so many steps
_SMALLEST = 1000 * 1.17549435e-38

KERNELS: dict[str, float] = {
    "lanczos1": 1.0,
    "lanczos3": 3.0,
    "lanczos5": 5.0,
    "gaussian": 1.5,
    "box": 0.5,
    "triangle": 1.0,
    "keyscubic": 2.0,
    "mitchellcubic": 2.0,
}
"""Sampling kernels of ScaleAndTranslate and their radii."""


def scale_and_translate(
    xp: Any, outputs: Any, inputs: Any, scale: Any, translate: Any, *, kernel: str, antialias: bool
) -> Any:
    """Weights of ScaleAndTranslate: the kernel about where an output falls, normalized."""
    inverse = 1.0 / scale
    at = (xp.places(outputs) + 0.5) * inverse - inverse * translate
    widening = xp.maximum(inverse, 1.0) if antialias else 1.0
    at = xp.column(at)
    distance = xp.abs(xp.row(xp.places(inputs)) + 0.5 - at) / widening
    weights = xp.where(_within(kernel, distance), _kernel(xp, kernel)(distance), 0.0)
    inside = (at >= 0.0) & (at <= xp.size(inputs))
    return _normalized(xp, xp.where(inside, weights, 0.0))


def area(xp: Any, outputs: Any, inputs: Any, *, align_corners: bool = False) -> Any:
    """Weights of ResizeArea: how much of an output's stretch lies on each input.

    With aligned corners, stretches end beyond the last input, which counts on for them.
    """
    scale = _step(xp, outputs, inputs, align_corners=align_corners)
    begin = xp.column(xp.places(outputs)) * scale
    end = (xp.column(xp.places(outputs)) + 1.0) * scale
    place = xp.row(xp.places(inputs))
    beyond = xp.where(place < xp.size(inputs) - 1.0, place + 1.0, xp.size(outputs) * scale + 1.0)
    overlap = xp.minimum(beyond, end) - xp.maximum(place, begin)
    return xp.maximum(overlap, 0.0) / scale


def bicubic(
    xp: Any, outputs: Any, inputs: Any, *, align_corners: bool = False, half_pixel: bool = True
) -> Any:
    """Weights of ResizeBicubic: with half-pixel centers Keys' cubic, inputs outside left out.

    Without them the cubic is a steeper one, and outside is what lies at the edge.
    """
    scale = _step(xp, outputs, inputs, align_corners=align_corners)
    places = xp.places(outputs)
    at = (places + 0.5) * scale - 0.5 if half_pixel else places * scale
    base = xp.floor(at)
    between = xp.round((at - base) * float(_BICUBIC_TABLE)) / float(_BICUBIC_TABLE)
    place = xp.row(xp.places(inputs))
    if half_pixel:
        return _normalized(xp, _cubic(xp, xp.abs(place - xp.column(base + between)), -0.5))
    total = place * 0.0
    for tap in (-1.0, 0.0, 1.0, 2.0):
        held = xp.minimum(xp.maximum(base + tap, 0.0), xp.size(inputs) - 1.0)
        weight = xp.column(_cubic(xp, xp.abs(between - tap), -0.75))
        total = total + xp.where(xp.abs(place - xp.column(held)) < 0.5, weight, 0.0)
    return total


def _step(xp: Any, outputs: Any, inputs: Any, *, align_corners: bool) -> Any:
    """How far apart two outputs are, in inputs."""
    size, count = xp.size(inputs), xp.size(outputs)
    if not align_corners:
        return size / count
    if isinstance(count, float):  # known, and a number in both worlds
        return (size - 1.0) / (count - 1.0) if count > 1.0 else size / count
    between = (size - 1.0) / xp.maximum(count - 1.0, 1.0)
    return xp.where(count > 1.0, between, size / count)


def _within(kernel: str, distance: Any) -> Any:
    radius = KERNELS[kernel]
    return distance <= radius if kernel == "box" else distance < radius


def _normalized(xp: Any, weights: Any) -> Any:
    total = xp.sum_of_rows(weights)
    return xp.where(xp.abs(total) >= _SMALLEST, weights / total, weights)


def _kernel(xp: Any, name: str) -> Callable[[Any], Any]:
    if name.startswith("lanczos"):
        return lambda x: _lanczos(xp, x, KERNELS[name])
    if name == "keyscubic":
        return lambda x: _keys_cubic(xp, x)
    return {
        "gaussian": lambda x: xp.exp(-x * x / (2.0 * (KERNELS[name] / 3.0) ** 2)),
        "box": lambda x: xp.where(x < 0.5, x * 0.0 + 1.0, 0.5),
        "triangle": lambda x: xp.maximum(1.0 - x, 0.0),
        "mitchellcubic": lambda x: _mitchell_cubic(xp, x),
    }[name]


def _lanczos(xp: Any, x: Any, radius: float) -> Any:
    angle = xp.maximum(x, 1e-3) * math.pi
    wave = xp.sin(angle) * xp.sin(angle / radius) * radius / (angle * angle)
    return xp.where(x <= 1e-3, x * 0.0 + 1.0, wave)


def _keys_cubic(xp: Any, x: Any) -> Any:
    return _cubic(xp, x, -0.5)


def _cubic(xp: Any, x: Any, a: float) -> Any:
    """The cubic convolution kernel of Keys, with its free parameter."""
    near = (((a + 2.0) * x - (a + 3.0)) * x) * x + 1.0
    far = ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    return xp.where(x < 1.0, near, xp.where(x < 2.0, far, 0.0))


def _mitchell_cubic(xp: Any, x: Any) -> Any:
    near = (((7.0 / 6.0) * x - 2.0) * x) * x + 16.0 / 18.0
    far = (((-7.0 / 18.0) * x + 2.0) * x - 10.0 / 3.0) * x + 16.0 / 9.0
    return xp.where(x < 1.0, near, xp.where(x < 2.0, far, 0.0))
