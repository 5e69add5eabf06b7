"""Fourier transforms; a complex tensor is its real and imaginary parts, end to end.

ONNX has no complex tensors. Here one of shape (…, n) is a real one of shape (…, 2n): first all
real parts, then all imaginary ones. A transform is then a product with a real matrix, or, where
that would be large, ONNX's DFT (https://onnx.ai/onnx/operators/onnx__DFT.html).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from converter.lowering.builder import Builder
from converter.lowering.operators.base import UnsupportedLowering
from runtimes.base import Array

_REAL_TYPES = (1, 10, 11)  # float32, float16 and float64
_MATRIX_LIMIT_BYTES = 2 * 1024 * 1024

# What may be done with a complex tensor; anything else would not know of the two halves.
_CONSUMERS = {
    *("Real", "Imag", "ComplexAbs", "Conj"),
    *("FFT", "IFFT", "IRFFT", "FFT2D", "IFFT2D"),
}


def rfft(build: Builder, node: Any) -> Sequence[str]:
    """RFFT: real signal (…, n), cut or filled up with zeros to ``fft_length``."""
    _check_consumers(build, node)
    return [_half_spectrum(build, node, _lengths(node)[0])]


def rfft_2d(build: Builder, node: Any) -> Sequence[str]:
    """RFFT2D of real (…, m, n)."""
    _check_consumers(build, node)
    rows, columns = _lengths(node)
    shape = build.shape(node.input[0])
    if shape is None or shape[-2] != rows:
        raise UnsupportedLowering(node, "its transform is of another size than its signal")
    half = _half_spectrum(build, node, columns)
    return [_along_rows(build, half, _turns(rows, rows), -1.0)]


def irfft(build: Builder, node: Any) -> Sequence[str]:
    """IRFFT: half a spectrum back to a real signal of ``fft_length``."""
    x, length = node.input[0], _lengths(node)[0]
    given, bins = _complex_size(build, node), length // 2 + 1
    used = min(given, bins)
    turns = _turns(used, length)
    # Each frequency but the first and, of even lengths, the last stands for two.
    twice = np.full((used, 1), 2.0)
    twice[0] = 1.0
    if length % 2 == 0 and used == bins:
        twice[-1] = 1.0
    matrix = np.zeros((2 * given, length))
    matrix[:used] = twice * np.cos(turns) / length
    matrix[given : given + used] = -twice * np.sin(turns) / length
    return [build.op("MatMul", x, _like(build, matrix, x))]


def fft(build: Builder, node: Any) -> Sequence[str]:
    """FFT of complex (…, n)."""
    return [_complex(build, node, -1.0)]


def ifft(build: Builder, node: Any) -> Sequence[str]:
    """IFFT of complex (…, n)."""
    return [_complex(build, node, 1.0)]


def fft_2d(build: Builder, node: Any) -> Sequence[str]:
    """FFT2D of complex (…, m, n)."""
    return [_along_rows(build, _complex(build, node, -1.0), _row_turns(build, node), -1.0)]


def ifft_2d(build: Builder, node: Any) -> Sequence[str]:
    """IFFT2D of complex (…, m, n)."""
    return [_along_rows(build, _complex(build, node, 1.0), _row_turns(build, node), 1.0)]


def joined(build: Builder, node: Any) -> Sequence[str]:
    """Complex: real and imaginary parts of one shape to a complex tensor."""
    _check_consumers(build, node)
    first, second = node.input
    if not build.shape(first) or build.shape(first) != build.shape(second):
        raise UnsupportedLowering(node, "real and imaginary parts are not known to be of one shape")
    return [build.op("Concat", first, second, axis=-1)]


def real(build: Builder, node: Any) -> Sequence[str]:
    """Real parts of a complex tensor."""
    return [_halves(build, node)[0]]


def imaginary(build: Builder, node: Any) -> Sequence[str]:
    """Imaginary parts of a complex tensor."""
    return [_halves(build, node)[1]]


def absolute(build: Builder, node: Any) -> Sequence[str]:
    """ComplexAbs: the root of the sum of both squares."""
    squares = [build.op("Mul", half, half) for half in _halves(build, node)]
    return [build.op("Sqrt", build.op("Add", *squares))]


def conjugate(build: Builder, node: Any) -> Sequence[str]:
    """Conj of a complex tensor: imaginary parts change their signs."""
    _check_consumers(build, node)
    first, second = _halves(build, node)
    return [build.op("Concat", first, build.op("Neg", second), axis=-1)]


def _half_spectrum(build: Builder, node: Any, length: int) -> str:
    """The first half of the spectrum of a real signal, which tells the whole."""
    x = node.input[0]
    shape = build.shape(x)
    if not shape or shape[-1] < 1:
        raise UnsupportedLowering(node, "the length of its signal is only known at run time")
    given, bins = shape[-1], length // 2 + 1
    size = given * 2 * bins * ir.DataType(build.dtype(x)).itemsize
    if size > _MATRIX_LIMIT_BYTES and build.opset >= 17:
        signal, points = build.unsqueeze(x, -1), build.constant(length)
        axis = len(shape) - 1
        if build.opset >= 20:
            spectrum = build.op("DFT", signal, points, build.constant(axis), onesided=1)
        else:
            spectrum = build.op("DFT", signal, points, axis=axis, onesided=1)
        parts = [build.op("Gather", spectrum, build.constant(i), axis=-1) for i in (0, 1)]
        return build.op("Concat", *parts, axis=-1)
    used = min(given, length)
    turns = _turns(length, bins)[:used]
    matrix = np.zeros((given, 2 * bins))
    matrix[:used, :bins], matrix[:used, bins:] = np.cos(turns), -np.sin(turns)
    return build.op("MatMul", x, _like(build, matrix, x))


def _complex(build: Builder, node: Any, sign: float) -> str:
    """Transform the last axis; the inverse one (sign 1) is divided by its length."""
    _check_consumers(build, node)
    x, length = node.input[0], _complex_size(build, node)
    turns = _turns(length, length)
    cos, sin = np.cos(turns), sign * np.sin(turns)
    matrix = np.block([[cos, sin], [-sin, cos]])
    return build.op("MatMul", x, _like(build, matrix if sign < 0 else matrix / length, x))


def _along_rows(build: Builder, x: str, turns: Array, sign: float) -> str:
    """Transform the last axis but one of complex (…, m, n)."""
    scale = 1.0 if sign < 0 else 1.0 / len(turns)
    by_cos = build.op("MatMul", _like(build, scale * np.cos(turns), x), x)
    by_sin = build.op("MatMul", _like(build, scale * sign * np.sin(turns), x), x)
    (cos_real, cos_imaginary), (sin_real, sin_imaginary) = (
        _split(build, part) for part in (by_cos, by_sin)
    )
    first = build.op("Sub", cos_real, sin_imaginary)
    return build.op("Concat", first, build.op("Add", cos_imaginary, sin_real), axis=-1)


def _turns(times: int, frequencies: int) -> Array:
    """Angles 2π·t·f/n with the greater count as n, the times in rows."""
    points = max(times, frequencies)
    return np.outer(np.arange(times), np.arange(frequencies)) % points * (2 * np.pi / points)


def _row_turns(build: Builder, node: Any) -> Array:
    shape = build.shape(node.input[0])
    if shape is None or len(shape) < 2 or shape[-2] < 1:
        raise UnsupportedLowering(node, "the size of its signal is only known at run time")
    return _turns(shape[-2], shape[-2])


def _halves(build: Builder, node: Any) -> list[str]:
    _complex_size(build, node)
    return _split(build, node.input[0])


def _split(build: Builder, x: str) -> list[str]:
    count = {"num_outputs": 2} if build.opset >= 18 else {}
    return build.ops("Split", 2, x, axis=-1, **count)


def _complex_size(build: Builder, node: Any) -> int:
    """Elements along the last axis of a complex input, from its real form."""
    x = node.input[0]
    if build.dtype(x) not in _REAL_TYPES:
        raise UnsupportedLowering(
            node, "its complex input does not come from a transform or from two parts"
        )
    shape = build.shape(x)
    if not shape or shape[-1] < 1:
        raise UnsupportedLowering(node, "the length of its signal is only known at run time")
    return shape[-1] // 2


def _check_consumers(build: Builder, node: Any) -> None:
    others: set[str] = set()
    pending = [str(node.output[0])]
    while pending:
        tensor = pending.pop()
        if build.is_output(tensor):
            others.add("an output of the model")
        for consumer in build.consumers(tensor):
            if consumer.type == "Identity":
                pending.extend(consumer.output)
            elif consumer.type not in _CONSUMERS:
                others.add(consumer.type)
    if others:
        raise UnsupportedLowering(node, f"its complex numbers go into {', '.join(sorted(others))}")


def _lengths(node: Any) -> list[int]:
    lengths = node.inputs[1]
    if not lengths.is_const():
        raise UnsupportedLowering(node, "the length of the transform is only known at run time")
    return [int(n) for n in np.asarray(lengths.get_tensor_value(as_list=False)).reshape(-1)]


def _like(build: Builder, matrix: Array, x: str) -> str:
    return build.constant(matrix, ir.DataType(build.dtype(x)).numpy())
