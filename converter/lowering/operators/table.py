"""Handlers for single TensorFlow operators, by name, in the form that tf2onnx takes.

A lowering is a function of the builder that writes its nodes and of the operator, tf2onnx's
``Node``; it returns the names of the outputs, or ``NotImplemented`` where tf2onnx writes the
operator well. It raises ``UnsupportedLowering`` where the operator, as it is used, has no right
ONNX form.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from converter.lowering.builder import Builder
from converter.lowering.operators.base import (
    Inherited,
    OperatorLowering,
    UnsupportedLowering,
    convert,
    handler_of,
)

# Operators that tf2onnx does not convert, and would take for ONNX's of the same name.
_NAMESAKES = ("Conv", "Mod", "NonMaxSuppression", "RegexFullMatch", "StringSplit", "TopK")
_PRODUCTS = ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "MatMul")


def operator_handlers(
    tables: Mapping[str, tuple[Any, Any]], inherited: Inherited
) -> dict[str, tuple[Callable[..., None], list[Any]]]:
    """Every operator that kilnx writes itself; ``tables`` are lookup tables by shared name.

    ``inherited`` are tf2onnx's handlers, for operators that kilnx writes only in some uses.
    """
    from converter.lowering.operators import (
        atan2,
        colours,
        complex_numbers,
        convolution,
        counting,
        crops,
        cross,
        cumulative,
        diagonals,
        einsum,
        elementwise,
        encoding,
        fourier,
        gamma,
        gradients,
        hashing,
        inexpressible,
        integers,
        matrices,
        padding,
        patches,
        random_numbers,
        resize_nodes,
        resizing,
        rolling,
        scattering,
        searching,
        segments,
        sign_bit,
        special_functions,
        suppression,
        update_slice,
        warping,
    )
    from converter.lowering.operators import lookup_tables as lookup
    from converter.lowering.operators import where as selection

    lowerings: dict[str, OperatorLowering] = {
        **scattering.SCATTERS,
        **segments.SEGMENTS,
        **suppression.SUPPRESSIONS,
        **dict.fromkeys(inexpressible.DECOMPOSITIONS, inexpressible.decomposition),
        **dict.fromkeys(_PRODUCTS, integers.matmul),
        **dict.fromkeys(random_numbers.STATEFUL, random_numbers.stateful),
        **dict.fromkeys(random_numbers.STATELESS, random_numbers.stateless),
        "AdjustHue": colours.adjust_hue,
        "AdjustSaturation": colours.adjust_saturation,
        "Angle": complex_numbers.angle,
        "ArgMax": sign_bit.arg,
        "ArgMin": sign_bit.arg,
        "AsString": hashing.as_string,
        "Atan2": atan2.atan2,
        "BesselI0": special_functions.bessel_i0,
        "BesselI0e": special_functions.bessel_i0e,
        "Bincount": counting.bincount,
        "Bitcast": integers.bitcast,
        "BroadcastArgs": gradients.broadcast_args,
        "BroadcastGradientArgs": gradients.broadcast_gradient_args,
        "Bucketize": counting.bucketize,
        "Cholesky": matrices.cholesky,
        "Complex": complex_numbers.joined,
        "ComplexAbs": complex_numbers.absolute,
        "Conj": complex_numbers.conjugate,
        "Conv2DBackpropInput": convolution.transposed,
        "Conv3D": convolution.grouped_3d,
        "Conv3DBackpropInputV2": convolution.transposed,
        "CropAndResize": crops.crop_and_resize,
        "Cross": cross.cross,
        "Cumprod": cumulative.cumprod,
        "CumulativeLogsumexp": cumulative.cumulative_logsumexp,
        "DenseBincount": counting.bincount,
        "DepthToSpace": encoding.depth_to_space,
        "Diag": diagonals.tensor_diagonal,
        "DiagPart": diagonals.tensor_diagonal_part,
        "Digamma": gamma.digamma,
        "Dilation2D": patches.dilate,
        "Einsum": einsum.einsum,
        "Equal": lookup.equal,
        "Erfc": elementwise.erfc,
        "Erfinv": special_functions.erfinv,
        "EuclideanNorm": elementwise.euclidean_norm,
        "Expm1": elementwise.expm1,
        "ExtractImagePatches": patches.extract_patches,
        "FFT": fourier.fft,
        "FFT2D": fourier.fft_2d,
        "FloorDiv": integers.floor_div,
        "FloorMod": integers.floor_mod,
        "HSVToRGB": colours.hsv_to_rgb,
        "HistogramFixedWidth": counting.histogram_fixed_width,
        "IFFT": fourier.ifft,
        "IFFT2D": fourier.ifft_2d,
        "IRFFT": fourier.irfft,
        "Imag": complex_numbers.imaginary,
        "ImageProjectiveTransformV2": warping.projective_transform,
        "ImageProjectiveTransformV3": warping.projective_transform,
        "InTopKV2": searching.in_top_k,
        "LeftShift": integers.left_shift,
        "InvertPermutation": integers.invert_permutation,
        "Less": sign_bit.less,
        "Lgamma": gamma.lgamma,
        "Log1p": elementwise.log1p,
        "ListDiff": searching.list_difference,
        "LogMatrixDeterminant": matrices.log_determinant,
        "LookupTableFindV2": lookup.find(tables),
        "LookupTableSizeV2": lookup.size(tables),
        "LowerBound": searching.lower_bound,
        "MatrixInverse": matrices.inverse,
        "MatrixSolve": matrices.solve,
        "MatrixTriangularSolve": matrices.triangular_solve,
        "MatrixDiag": diagonals.matrix_diagonal,
        "MatrixDiagV2": diagonals.matrix_diagonal,
        "MatrixDiagV3": diagonals.matrix_diagonal,
        "MatrixDiagPartV2": diagonals.diagonal_part,
        "MatrixDiagPartV3": diagonals.diagonal_part,
        "MatrixSetDiag": diagonals.set_diagonal,
        "MatrixSetDiagV2": diagonals.set_diagonal,
        "MatrixSetDiagV3": diagonals.set_diagonal,
        "MulNoNan": elementwise.mul_no_nan,
        "NotEqual": lookup.not_equal,
        "OneHot": encoding.one_hot,
        "Pad": padding.pad,
        "PadV2": padding.pad,
        "PopulationCount": integers.population_count,
        "Qr": matrices.qr,
        "RFFT": fourier.rfft,
        "RFFT2D": fourier.rfft_2d,
        "RGBToHSV": colours.rgb_to_hsv,
        "Real": complex_numbers.real,
        "Relu": elementwise.relu,
        "ResizeArea": resizing.resized_by_area,
        "ResizeBicubic": resizing.resized_bicubic,
        "ResizeBilinear": resize_nodes.resized_bilinear,
        "ResizeNearestNeighbor": resize_nodes.resized_nearest,
        "RightShift": integers.right_shift,
        "Roll": rolling.roll,
        "ScaleAndTranslate": resizing.scaled_and_translated,
        "Select": selection.select,
        "SelectV2": selection.select,
        "SpaceToDepth": encoding.space_to_depth,
        "StringToHashBucketFast": hashing.hash_bucket,
        "TopKV2": encoding.top_k,
        "TruncateMod": integers.truncate_mod,
        "Unique": encoding.unique,
        "UniqueWithCounts": encoding.unique,
        "UpperBound": searching.upper_bound,
        "Xdivy": elementwise.xdivy,
        "XlaDynamicUpdateSlice": update_slice.update_slice,
        "Xlog1py": elementwise.xlog1py,
        "Xlogy": elementwise.xlogy,
    }
    for name in _NAMESAKES:
        lowerings[name] = _other_meaning
    for name in complex_numbers.COMPLEX_OPERATORS:
        own = lowerings.get(name)
        again = functools.partial(_converted, lowering=own, inherited=inherited)
        lowerings[name] = complex_numbers.complex_or_real(name, own, again)
    return {name: handler_of(lowering, inherited) for name, lowering in lowerings.items()}


def _converted(
    ctx: Any, node: Any, *, lowering: OperatorLowering | None, inherited: Inherited
) -> None:
    convert(ctx, node, lowering, inherited)


def _other_meaning(_build: Builder, node: Any) -> Sequence[str]:
    raise UnsupportedLowering(node, "ONNX means something else by that name")
