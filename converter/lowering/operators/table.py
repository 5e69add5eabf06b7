"""Handlers for single TensorFlow operators, by name, in the form that tf2onnx takes.

A lowering is a function of the builder that writes its nodes and of the operator, tf2onnx's
``Node``; it returns the names of the outputs, or ``NotImplemented`` where tf2onnx writes the
operator well. It raises ``UnsupportedLowering`` where the operator, as it is used, has no right
ONNX form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from converter.lowering.builder import Builder
from converter.lowering.operators.base import (
    Inherited,
    OperatorLowering,
    UnsupportedLowering,
    handler_of,
)

# Operators that tf2onnx does not convert, and would take for ONNX's of the same name.
_NAMESAKES = ("Conv", "Mod", "NonMaxSuppression", "RegexFullMatch", "StringSplit", "TopK")


def operator_handlers(
    tables: Mapping[str, tuple[Any, Any]], inherited: Inherited
) -> dict[str, tuple[Callable[..., None], list[Any]]]:
    """Every operator that kilnx writes itself; ``tables`` are lookup tables by shared name.

    ``inherited`` are tf2onnx's handlers, for operators that kilnx writes only in some uses.
    """
    from converter.lowering.operators import (
        convolution,
        counting,
        cumulative,
        einsum,
        elementwise,
        fourier,
        resizing,
        sign_bit,
    )
    from converter.lowering.operators import lookup_tables as lookup
    from converter.lowering.operators import where as selection

    lowerings: dict[str, OperatorLowering] = {
        "ArgMax": sign_bit.arg,
        "ArgMin": sign_bit.arg,
        "Bincount": counting.bincount,
        "Bucketize": counting.bucketize,
        "Complex": fourier.joined,
        "ComplexAbs": fourier.absolute,
        "Conj": fourier.conjugate,
        "Conv2DBackpropInput": convolution.transposed,
        "Conv3D": convolution.grouped_3d,
        "Conv3DBackpropInputV2": convolution.transposed,
        "Cumprod": cumulative.cumprod,
        "DenseBincount": counting.bincount,
        "Einsum": einsum.einsum,
        "Equal": lookup.equal,
        "Erfc": elementwise.erfc,
        "Expm1": elementwise.expm1,
        "FFT": fourier.fft,
        "FFT2D": fourier.fft_2d,
        "IFFT": fourier.ifft,
        "IFFT2D": fourier.ifft_2d,
        "IRFFT": fourier.irfft,
        "Imag": fourier.imaginary,
        "Less": sign_bit.less,
        "Log1p": elementwise.log1p,
        "LookupTableFindV2": lookup.find(tables),
        "LookupTableSizeV2": lookup.size(tables),
        "NotEqual": lookup.not_equal,
        "RFFT": fourier.rfft,
        "RFFT2D": fourier.rfft_2d,
        "Real": fourier.real,
        "ResizeArea": resizing.resized_by_area,
        "ResizeBicubic": resizing.resized_bicubic,
        "ScaleAndTranslate": resizing.scaled_and_translated,
        "Select": selection.select,
        "SelectV2": selection.select,
    }
    for name in _NAMESAKES:
        lowerings[name] = _other_meaning
    return {name: handler_of(lowering, inherited) for name, lowering in lowerings.items()}


def _other_meaning(_build: Builder, node: Any) -> Sequence[str]:
    raise UnsupportedLowering(node, "ONNX means something else by that name")
