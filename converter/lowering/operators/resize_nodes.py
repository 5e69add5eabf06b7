"""Nearest and bilinear resizing as ONNX's Resize, or as Gather where that reads other pixels.

https://onnx.ai/onnx/operators/onnx__Resize.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converter.lowering.builder import Builder
from converter.lowering.operators.arithmetic import GraphMath, GraphValue
from runtimes.base import Array

_FLOAT, _INT64 = 1, 7
_RESIZED = {_FLOAT, 2, 3, 6}  # float, uint8, int8, int32


def resized_bilinear(build: Builder, node: Any) -> Sequence[str]:
    """ResizeBilinear: floats, whatever is resized."""
    x = node.input[0]
    if build.dtype(x) != _FLOAT:
        x = build.op("Cast", x, to=_FLOAT)
    return [_resize(build, node, x, _Rule.of(node), mode="linear")]


def resized_nearest(build: Builder, node: Any) -> Sequence[str]:
    """ResizeNearestNeighbor: TensorFlow multiplies with in / out, ONNX divides by out / in.

    Rounded, the two can name neighbouring pixels.
    """
    x, rule = node.input[0], _Rule.of(node)
    inputs, outputs = _sizes(build, node)
    if build.dtype(x) in _RESIZED and all(map(rule.agrees, inputs, outputs)):
        return [_resize(build, node, x, rule, mode="nearest")]
    for axis in (0, 1):
        if inputs[axis] is not None and inputs[axis] == outputs[axis]:
            continue
        index = _index(build, node, rule, axis)
        x = build.op("Gather", x, index, axis=axis + 1)
    return [x]


@dataclass(frozen=True)
class _Rule:
    """How the centers of pixels are laid over each other."""

    align_corners: bool
    half_pixel: bool

    @staticmethod
    def of(node: Any) -> _Rule:
        return _Rule(
            bool(node.get_attr_value("align_corners", 0)),
            bool(node.get_attr_value("half_pixel_centers", 0)),
        )

    def attributes(self, mode: str) -> dict[str, str]:
        """Those of Resize."""
        if self.align_corners:
            how, rounding = "align_corners", "round_prefer_ceil"
        elif self.half_pixel:
            how, rounding = "half_pixel", "round_prefer_ceil"
        else:
            how, rounding = "asymmetric", "floor"
        rounded = {"nearest_mode": rounding} if mode == "nearest" else {}
        return {"mode": mode, "coordinate_transformation_mode": how, **rounded}

    def agrees(self, inputs: int | None, outputs: int | None) -> bool:
        """Whether Resize reads the pixels that TensorFlow reads, both in float32."""
        if inputs is None or outputs is None:
            return False
        at = np.arange(outputs, dtype=np.float32)
        half, last = np.float32(0.5), np.float32(inputs - 1)
        if self.align_corners:
            theirs = _rounded(at * last / np.float32(max(outputs - 1, 1)))
        elif self.half_pixel:
            theirs = _rounded((at + half) / _scale(inputs, outputs) - half)
        else:
            theirs = np.floor(at / _scale(inputs, outputs))
        return bool(np.array_equal(np.clip(theirs, 0, last), self.places(inputs, outputs)))

    def places(self, inputs: int, outputs: int) -> Array:
        """The pixel that each output is, as TensorFlow computes it."""
        aligned = self.align_corners and outputs > 1
        scale = (
            np.float32(inputs - 1) / np.float32(outputs - 1)
            if aligned
            else np.float32(inputs) / np.float32(outputs)
        )
        at = (np.arange(outputs, dtype=np.float32) + self._shift) * scale
        places = _rounded(at) if self.align_corners else np.floor(at)
        held: Array = np.clip(places, 0, inputs - 1)
        return held

    def places_of(self, build: Builder, inputs: str, outputs: str) -> str:
        """The same at run time; sizes are int64 scalars."""
        math = GraphMath(build)
        size, count = (
            GraphValue(build, build.op("Cast", each, to=_FLOAT)) for each in (inputs, outputs)
        )
        scale = size / count
        if self.align_corners:
            between = (size - 1.0) / math.maximum(count - 1.0, 1.0)
            scale = math.where(count > 1.0, between, scale)
        at = (math.places(outputs) + float(self._shift)) * scale
        place = math.floor(at)
        if self.align_corners:
            place = math.where(at - place >= 0.5, place + 1.0, place)
        held = math.minimum(math.maximum(place, 0.0), size - 1.0)
        return build.op("Cast", held.name, to=_INT64)

    @property
    def _shift(self) -> np.float32:
        return np.float32(0.5 if self.half_pixel else 0.0)


def _resize(build: Builder, node: Any, x: str, rule: _Rule, mode: str) -> str:
    inputs, outputs = _sizes(build, node)
    x = build.op("Transpose", x, perm=[0, 3, 1, 2])
    if None in (*inputs, *outputs):
        sizes = build.op(
            "Concat",
            build.sizes(x, 0, 2),
            build.op("Cast", node.input[1], to=_INT64),
            axis=0,
        )
        y = build.op("Resize", x, "", "", sizes, **rule.attributes(mode))
    else:
        scales = [1.0, 1.0, *map(_scale, inputs, outputs)]
        y = build.op("Resize", x, "", build.constant(scales, "float32"), **rule.attributes(mode))
    return build.op("Transpose", y, perm=[0, 2, 3, 1])


def _rounded(at: Array) -> Array:
    """The nearest whole number, halves upwards; adding 0.5 would round the sum first."""
    below = np.floor(at)
    nearest: Array = np.where(at - below >= np.float32(0.5), below + 1, below)
    return nearest


def _scale(inputs: Any, outputs: Any) -> np.float32:
    """The factor out / in, rounded up where ``floor(in * scale)`` would lose a pixel."""
    scale = np.float32(outputs) / np.float32(inputs)
    short = int(np.floor(np.float32(inputs) * scale)) < outputs or inputs * float(scale) < outputs
    return np.nextafter(scale, np.float32(np.inf)) if short else scale


def _index(build: Builder, node: Any, rule: _Rule, axis: int) -> str:
    inputs, outputs = (sizes[axis] for sizes in _sizes(build, node))
    if inputs is not None and outputs is not None:
        return build.constant(rule.places(inputs, outputs))
    x, size = node.input
    before = build.squeeze(build.sizes(x, axis + 1, axis + 2), 0)
    after = build.op("Cast", build.op("Gather", size, build.constant(axis), axis=0), to=_INT64)
    return rule.places_of(build, before, after)


def _sizes(build: Builder, node: Any) -> tuple[list[int | None], list[int | None]]:
    """Height and width before and after, ``None`` where they are only known at run time."""
    shape = build.shape(node.input[0]) or [-1] * 4
    before = [size if size > 0 else None for size in shape[1:3]]
    source = node.inputs[1]
    if not source.is_const():
        return before, [None, None]
    return before, [int(size) for size in source.get_tensor_value(as_list=False)]
