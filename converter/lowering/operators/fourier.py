"""Fourier transforms; a complex tensor is its real and imaginary parts, end to end.

A transform is then a product with a real matrix, or, where that would be large or its size is
known only at run time, ONNX's DFT (https://onnx.ai/onnx/operators/onnx__DFT.html).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from converter.lowering.builder import Builder
from converter.lowering.operators import dft
from converter.lowering.operators.base import UnsupportedLowering
from converter.lowering.operators.complex_numbers import check_consumers, complex_size, join
from runtimes.base import Array

_MATRIX_LIMIT_BYTES = 2 * 1024 * 1024
_COMPLEX_LIMIT_BYTES = 16 * 1024 * 1024  # a complex matrix is four, and a product of planes fast


def rfft(build: Builder, node: Any) -> Sequence[str]:
    """RFFT: real signal (…, n), cut or filled up with zeros to ``fft_length``."""
    check_consumers(build, node)
    shape, lengths = build.shape(node.input[0]), _lengths(node)
    if not shape:
        raise UnsupportedLowering(node, "the rank of its signal is only known at run time")
    if lengths is None or shape[-1] < 1:
        return [dft.half_spectrum(build, node, dft.points_of(build, node.input[1], 0))]
    return [_half_spectrum(build, node, shape[-1], lengths[0])]


def rfft_2d(build: Builder, node: Any) -> Sequence[str]:
    """RFFT2D of real (…, m, n)."""
    check_consumers(build, node)
    shape, lengths = build.shape(node.input[0]), _lengths(node)
    if not shape:
        raise UnsupportedLowering(node, "the rank of its signal is only known at run time")
    if lengths is None or shape[-1] < 1 or shape[-2] != lengths[0]:
        rows, columns = (dft.points_of(build, node.input[1], i) for i in (0, 1))
        return [dft.half_spectrum(build, node, columns, rows)]
    half = _half_spectrum(build, node, shape[-1], lengths[1])
    return [_along_rows(build, half, lengths[0], -1.0)]


def irfft(build: Builder, node: Any) -> Sequence[str]:
    """IRFFT: half a spectrum back to a real signal of ``fft_length``."""
    x, lengths, given = node.input[0], _lengths(node), complex_size(build, node)
    if lengths is None or given < 1:
        return [dft.signal_of_half(build, node, dft.points_of(build, node.input[1], 0))]
    length = lengths[0]
    bins = length // 2 + 1
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
    return [_complex(build, node, inverse=False)]


def ifft(build: Builder, node: Any) -> Sequence[str]:
    """IFFT of complex (…, n)."""
    return [_complex(build, node, inverse=True)]


def fft_2d(build: Builder, node: Any) -> Sequence[str]:
    """FFT2D of complex (…, m, n)."""
    return [_plane(build, node, inverse=False)]


def ifft_2d(build: Builder, node: Any) -> Sequence[str]:
    """IFFT2D of complex (…, m, n)."""
    return [_plane(build, node, inverse=True)]


def _half_spectrum(build: Builder, node: Any, given: int, length: int) -> str:
    """The first half of the spectrum of a real signal, which tells the whole."""
    x, bins = node.input[0], length // 2 + 1
    if given * 2 * bins * _bytes(build, x) > _MATRIX_LIMIT_BYTES and build.opset >= 17:
        return dft.half_spectrum(build, node, build.constant(length))
    used = min(given, length)
    turns = _turns(length, bins)[:used]
    matrix = np.zeros((given, 2 * bins))
    matrix[:used, :bins], matrix[:used, bins:] = np.cos(turns), -np.sin(turns)
    return build.op("MatMul", x, _like(build, matrix, x))


def _complex(build: Builder, node: Any, *, inverse: bool) -> str:
    """Transform the last axis; the inverse one is divided by its length."""
    check_consumers(build, node)
    x, length = node.input[0], complex_size(build, node)
    large = (2 * length) ** 2 * _bytes(build, x) > _COMPLEX_LIMIT_BYTES
    if length < 1 or (large and build.opset >= 17):
        return dft.transformed(build, node, (-1,), inverse=inverse)
    return _along_columns(build, x, length, 1.0 if inverse else -1.0)


def _plane(build: Builder, node: Any, *, inverse: bool) -> str:
    """Transform the last two axes."""
    check_consumers(build, node)
    columns = complex_size(build, node)
    shape = build.shape(node.input[0]) or []
    if len(shape) < 2:
        raise UnsupportedLowering(node, "its signal is no plane")
    largest = (2 * max(columns, shape[-2])) ** 2 * _bytes(build, node.input[0])
    large = largest > _COMPLEX_LIMIT_BYTES
    if columns < 1 or shape[-2] < 1 or (large and build.opset >= 17):
        return dft.transformed(build, node, (-1, -2), inverse=inverse)
    sign = 1.0 if inverse else -1.0
    by_columns = _along_columns(build, node.input[0], columns, sign)
    return _along_rows(build, by_columns, shape[-2], sign)


def _along_columns(build: Builder, x: str, length: int, sign: float) -> str:
    turns = _turns(length, length)
    cos, sin = np.cos(turns), sign * np.sin(turns)
    matrix = np.block([[cos, sin], [-sin, cos]])
    return build.op("MatMul", x, _like(build, matrix if sign < 0 else matrix / length, x))


def _along_rows(build: Builder, x: str, rows: int, sign: float) -> str:
    """Transform the last axis but one of complex (…, m, n)."""
    turns, scale = _turns(rows, rows), 1.0 if sign < 0 else 1.0 / rows
    by_cos = build.op("MatMul", _like(build, scale * np.cos(turns), x), x)
    by_sin = build.op("MatMul", _like(build, scale * sign * np.sin(turns), x), x)
    (cos_real, cos_imaginary), (sin_real, sin_imaginary) = (
        _split(build, part) for part in (by_cos, by_sin)
    )
    first = build.op("Sub", cos_real, sin_imaginary)
    return join(build, first, build.op("Add", cos_imaginary, sin_real))


def _split(build: Builder, x: str) -> list[str]:
    count = {"num_outputs": 2} if build.opset >= 18 else {}
    return build.ops("Split", 2, x, axis=-1, **count)


def _turns(times: int, frequencies: int) -> Array:
    """Angles 2π·t·f/n with the greater count as n, the times in rows."""
    points = max(times, frequencies)
    return np.outer(np.arange(times), np.arange(frequencies)) % points * (2 * np.pi / points)


def _lengths(node: Any) -> list[int] | None:
    """The lengths that the transform asks for, where they are constants."""
    lengths = node.inputs[1]
    if not lengths.is_const():
        return None
    return [int(n) for n in np.asarray(lengths.get_tensor_value(as_list=False)).reshape(-1)]


def _bytes(build: Builder, x: str) -> int:
    return int(ir.DataType(build.dtype(x)).itemsize)


def _like(build: Builder, matrix: Array, x: str) -> str:
    return build.constant(matrix, ir.DataType(build.dtype(x)).numpy())
