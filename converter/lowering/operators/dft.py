"""Fourier transforms of a size that is large, or known only at run time, as ONNX's DFT.

https://onnx.ai/onnx/operators/onnx__DFT.html: complex numbers are pairs along one more axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converter.lowering.builder import Builder
from converter.lowering.operators.base import UnsupportedLowering
from converter.lowering.operators.complex_numbers import join, parts

_INT64 = 7
_FIRST_OPSET = 17


def transformed(build: Builder, node: Any, axes: tuple[int, ...], *, inverse: bool) -> str:
    """Transform complex (…, m, n) along ``axes``, -1 or -2 or both."""
    spectrum = _interleaved(build, node)
    for axis in axes:
        spectrum = _dft(build, node, spectrum, axis, inverse=int(inverse))
    return _separated(build, spectrum)


def half_spectrum(build: Builder, node: Any, columns: str, rows: str = "") -> str:
    """RFFT to ``columns`` points, of real (…, m, n) after that to ``rows`` points as well."""
    signal = build.unsqueeze(node.input[0], -1)
    spectrum = _dft(build, node, signal, -1, points=columns, onesided=1)
    if rows:
        spectrum = _dft(build, node, spectrum, -2, points=rows)
    return _separated(build, spectrum)


def signal_of_half(build: Builder, node: Any, length: str) -> str:
    """IRFFT to ``length`` samples: the other half of the spectrum mirrors the one given."""
    half = _interleaved(build, node)
    axis = build.constant([-2])
    one, two = build.constant([1]), build.constant([2])
    length = build.reshape(length, [1])
    bins = build.op("Add", build.op("Div", length, two), one)
    given = build.op("Shape", build.op("Slice", half, build.constant([0]), bins, axis))
    given = build.op("Slice", given, axis, build.constant([-1]))
    rank = len(build.shape(node.input[0]) or ()) + 1
    pads = build.op(
        "Concat",
        build.constant([0] * (2 * rank - 2)),
        build.op("Sub", bins, given),
        build.constant([0]),
        axis=0,
    )
    half = build.op("Pad", build.op("Slice", half, build.constant([0]), bins, axis), pads)
    mirrored = build.op(
        "Slice",
        half,
        build.op("Sub", length, bins),
        build.constant([0]),
        axis,
        build.constant([-1]),
    )
    signs = build.op("Cast", build.constant([1.0, -1.0], np.float32), to=build.dtype(half))
    mirrored = build.op("Mul", mirrored, signs)
    whole = build.op("Concat", half, mirrored, axis=-2)
    signal = _dft(build, node, whole, -1, inverse=1)
    return build.op("Gather", signal, build.constant(0), axis=-1)


def _dft(
    build: Builder, node: Any, x: str, axis: int, *, points: str = "", **attributes: int
) -> str:
    if build.opset < _FIRST_OPSET:
        raise UnsupportedLowering(
            node,
            f"its size is only known at run time, and ONNX has that from opset "
            f"{_FIRST_OPSET} on (--opset {_FIRST_OPSET})",
        )
    shape = list(build.shape(x) or ())
    axis += len(shape) - 1
    if build.opset >= 20:
        spectrum = build.op("DFT", x, points, build.constant(axis), **attributes)
    else:
        spectrum = build.op("DFT", *((x, points) if points else (x,)), axis=axis, **attributes)
    if points:
        shape[axis] = -1
    build.set_shape(spectrum, [*shape[:-1], 2])
    return spectrum


def _interleaved(build: Builder, node: Any) -> str:
    pair = (build.unsqueeze(part, -1) for part in parts(build, node, 0))
    return build.op("Concat", *pair, axis=-1)


def _separated(build: Builder, x: str) -> str:
    first, second = (build.op("Gather", x, build.constant(i), axis=-1) for i in (0, 1))
    return join(build, first, second)


def points_of(build: Builder, lengths: str, index: int) -> str:
    """One of the lengths that an operator asks for, as DFT takes it."""
    wanted = build.op("Gather", lengths, build.constant(index), axis=0)
    return build.op("Cast", wanted, to=_INT64)
