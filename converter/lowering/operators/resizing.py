"""Image resizing that ONNX's Resize does not do as TensorFlow does it.

Antialiasing, Lanczos and area kernels, and the cubic whose weights TensorFlow takes from a
table: resizing is linear in each axis, so each is a product with a matrix of weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from converter.lowering.builder import Builder
from converter.lowering.operators.arithmetic import GraphMath, GraphValue, NumpyMath
from converter.lowering.operators.base import UnsupportedLowering
from converter.lowering.operators.resizing_weights import (
    KERNELS,
    area,
    bicubic,
    scale_and_translate,
)

_FLOAT, _INT64 = 1, 7
_FIRST_WITH_MODES = 11
_CENTERS = "half_pixel_centers"

Weights = Callable[[Any, Any, Any, int], Any]
"""``xp``, number of outputs, number of inputs, axis (0: height, 1: width) → matrix."""


def scaled_and_translated(build: Builder, node: Any) -> Sequence[str]:
    """ScaleAndTranslate: sampling kernels, stretched over the inputs where it is antialiased."""
    kernel = node.get_attr_value("kernel_type", b"lanczos3").decode()
    antialias = bool(node.get_attr_value("antialias", 1))
    if kernel not in KERNELS:
        raise UnsupportedLowering(node, f"its kernel {kernel!r} is not known here")
    scale, translate = node.input[2:4]

    def weights(xp: Any, outputs: Any, inputs: Any, axis: int) -> Any:
        return scale_and_translate(
            xp,
            outputs,
            inputs,
            _number(build, node, scale, axis, xp),
            _number(build, node, translate, axis, xp),
            kernel=kernel,
            antialias=antialias,
        )

    known = all(_constant(node, i) is not None for i in (2, 3))
    return [_resized(build, node, weights, known)]


def resized_by_area(build: Builder, node: Any) -> Sequence[str]:
    """ResizeArea: each output is the mean of the stretch of inputs below it."""
    if node.get_attr_value("align_corners"):
        raise UnsupportedLowering(node, "area resizing with aligned corners is not written here")
    return [_resized(build, node, lambda xp, out, inp, _: area(xp, out, inp))]


def resized_bicubic(build: Builder, node: Any) -> Sequence[str]:
    """ResizeBicubic with half-pixel centers, as tf.image.resize asks for it."""
    if node.get_attr_value("align_corners") or not node.get_attr_value("half_pixel_centers"):
        raise UnsupportedLowering(node, "bicubic resizing is written for half-pixel centers only")
    return [_resized(build, node, lambda xp, out, inp, _: bicubic(xp, out, inp))]


def resized_to_sizes(build: Builder, node: Any) -> Sequence[str]:
    """ResizeBilinear and ResizeNearestNeighbor where a scale in float32 would lose a pixel.

    5 pixels times float32(9 / 5) are fewer than 9. Everywhere else the scales say more: the next
    ones see in them what is repeated.
    """
    shape, sizes = build.shape(node.input[0]), _constant(node, 1)
    if shape is None or sizes is None or build.opset < _FIRST_WITH_MODES:
        return NotImplemented
    pairs = list(zip(shape[1:3], map(int, sizes), strict=True))
    if any(before < 1 for before, _ in pairs) or all(_keeps(*pair) for pair in pairs):
        return NotImplemented
    x = build.op("Transpose", node.input[0], perm=[0, 3, 1, 2])
    y = _to_sizes(build, x, [after for _, after in pairs], _modes(node))
    return [build.op("Transpose", y, perm=[0, 2, 3, 1])]


def _keeps(before: int, after: int) -> bool:
    return int(before * float(np.float32(after / before))) == after


def _modes(node: Any) -> dict[str, Any]:
    """How ONNX's Resize is told where TensorFlow's kernel samples."""
    aligned, centers = node.get_attr_value("align_corners"), node.get_attr_value(_CENTERS)
    place = "align_corners" if aligned else "half_pixel" if centers else "asymmetric"
    if node.type == "ResizeBilinear":
        return {"mode": "linear", "coordinate_transformation_mode": place}
    rounding = "floor" if place == "asymmetric" else "round_prefer_ceil"
    modes = {"mode": "nearest", "coordinate_transformation_mode": place}
    return modes | {"nearest_mode": rounding}


def _to_sizes(build: Builder, x: str, sizes: Sequence[int], modes: dict[str, Any]) -> str:
    """Resize height and width of (batch, channels, height, width).

    All four sizes are given: ONNX Runtime moves a Transpose through a Resize as if there were no
    ``axes``.
    """
    kept = build.op("Slice", build.op("Shape", x), build.constant([0]), build.constant([2]))
    wanted = build.op("Concat", kept, build.constant(list(sizes)), axis=0)
    return build.op("Resize", x, "", "", wanted, **modes)


def _resized(build: Builder, node: Any, weights: Weights, known: bool = True) -> str:
    """Multiply height and width of (batch, height, width, channels) with their weights."""
    x = node.input[0]
    if build.dtype(x) != _FLOAT:
        x = build.op("Cast", x, to=_FLOAT)
    _, height, width, channels = build.shape(node.input[0]) or [-1] * 4
    sizes = _constant(node, 1)
    rows, columns = (-1, -1) if sizes is None else (int(size) for size in sizes)

    def matrix(axis: int, outputs: int, inputs: int) -> str:
        if known and outputs > 0 and inputs > 0:
            with np.errstate(all="ignore"):
                values = weights(NumpyMath, outputs, inputs, axis)
            return build.constant(values, np.float32)
        out = outputs if outputs > 0 else _entry(build, node.input[1], axis)
        inp = inputs if inputs > 0 else _entry(build, build.op("Shape", x), axis + 1)
        value: GraphValue = weights(GraphMath(build), out, inp, axis)
        return value.name

    # Height: (rows, height) times (batch, height, width * channels).
    if width > 0 and channels > 0:
        flat = build.reshape(x, [0, 0, width * channels])
        tall = build.op("MatMul", matrix(0, rows, height), flat)
        tall = build.reshape(tall, [0, 0, width, channels])
    else:
        flat = build.reshape(x, [0, 0, -1])
        tall = build.op("MatMul", matrix(0, rows, height), flat)
        whole = build.op("Shape", x)
        ends = [
            build.op("Slice", whole, build.constant([a]), build.constant([b]))
            for a, b in ((2, 3), (3, 4))
        ]
        tall = build.op("Reshape", tall, build.op("Concat", build.constant([0, 0]), *ends, axis=0))
    return build.op("MatMul", matrix(1, columns, width), tall)


def _constant(node: Any, index: int) -> Any:
    """The values of a constant input, else None."""
    source = node.inputs[index]
    return source.get_tensor_value(as_list=False) if source.is_const() else None


def _number(build: Builder, node: Any, tensor: str, axis: int, xp: Any) -> Any:
    """One entry of a vector as a number of the formula."""
    values = _constant(node, list(node.input).index(tensor))
    if values is not None:
        return np.float32(values[axis]) if xp is NumpyMath else float(values[axis])
    return GraphValue(build, _entry(build, tensor, axis))


def _entry(build: Builder, vector: str, index: int) -> str:
    """A scalar out of a vector; whole numbers become int64."""
    entry = build.op("Gather", vector, build.constant(index), axis=0)
    if build.dtype(vector) in (_FLOAT, _INT64):
        return entry
    return build.op("Cast", entry, to=_INT64)
