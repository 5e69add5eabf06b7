"""Weights that Keras keeps in 8 or 4 bits, read from its layers as matrices and tables.

``Dense``, ``EinsumDense``, ``Embedding`` and ``ReversibleEmbedding`` quantize themselves
(``model.quantize``), by absolute maximum, GPTQ (https://arxiv.org/abs/2210.17323) or AWQ
(https://arxiv.org/abs/2306.00978). Here each weight becomes integers, scales and zero points,
in the one form that the ONNX nodes are written from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from runtimes.base import Array
from runtimes.errors import UnsupportedOperator
from runtimes.keras_models.parts import all_layers

_CALIBRATED = {"gptq": "is_gptq_calibrated", "awq": "is_awq_calibrated"}


@dataclass(frozen=True)
class LowBitMatrix:
    """A matrix ``(codes - zero) * scale``, its integers one a byte.

    ``codes``: int8 or uint8 (rows, columns). ``scale``: float32, and ``zero``: as ``codes``,
    ``None`` for zeros. Both of shape (size of ``axis``,) without ``block_size``, and else
    (blocks, columns): one number for ``block_size`` rows, the last block maybe shorter.
    ``order``: where the rows of the matrix lie in ``codes``, ``None`` where in order.
    """

    codes: Array
    scale: Array
    zero: Array | None = None
    axis: int = 1
    block_size: int | None = None
    order: Array | None = None

    @property
    def bits(self) -> int:
        """4 where four bits hold all integers, else 8."""
        arrays = [self.codes] if self.zero is None else [self.codes, self.zero]
        low, high = (-8, 7) if self.codes.dtype == np.int8 else (0, 15)
        return 4 if all(np.all((a >= low) & (a <= high)) for a in arrays) else 8


@dataclass(frozen=True)
class LowBitTable:
    """The rows of an int4 embedding, two integers a byte: uint8 (rows, ceil(columns / 2)).

    A byte holds 8 more than the integer of column ``i`` in its low half and that of column
    ``i + ceil(columns / 2)`` in its high half, so that a row unpacks by one concatenation.
    """

    path: str
    packed: Array


@dataclass(frozen=True)
class LowBitLayer:
    """A quantized layer, what it multiplies by (``kernel``) and looks up (``table``)."""

    layer: Any
    kernel: LowBitMatrix | None = None
    table: LowBitTable | None = None


def low_bit_layers(model: Any) -> list[LowBitLayer]:
    """The layers of a Keras model whose weights ONNX would not keep in few bits by itself.

    Those are all int4, GPTQ and AWQ layers, and int8 layers that quantize weights only: where
    the inputs are quantized too, the integers meet in a MatMulInteger, unless the layer is an
    einsum that is no matrix product. Raises
    ``UnsupportedOperator`` for float8, and for groups of rows that are not alike.
    """
    layers = {id(layer): layer for layer in all_layers(model)}.values()
    _refuse_float8(layers)
    read = [_read(layer) for layer in layers]
    return [found for found in read if found.kernel is not None or found.table is not None]


def has_int4(model: Any) -> bool:
    """Whether ONNX's INT4 or UINT4 is wanted for a weight of a Keras model."""
    return any(
        found.kernel is not None and found.kernel.bits == 4 for found in low_bit_layers(model)
    )


def _read(layer: Any) -> LowBitLayer:
    from keras import layers

    mode = getattr(layer, "quantization_mode", None)
    if mode is None or not layer.built:
        return LowBitLayer(layer)
    if isinstance(layer, getattr(layers, "ReversibleEmbedding", ())):
        return LowBitLayer(layer, _reverse_matrix(layer, mode), _table(layer, mode))
    if isinstance(layer, layers.Embedding):
        return LowBitLayer(layer, None, _table(layer, mode))
    if isinstance(layer, layers.Dense | layers.EinsumDense):
        return LowBitLayer(layer, _kernel(layer, mode))
    return LowBitLayer(layer)


def _kernel(layer: Any, mode: str) -> LowBitMatrix | None:
    if mode in _CALIBRATED:
        calibrated = getattr(layer, _CALIBRATED[mode], False)
        return _calibrated_matrix(layer) if calibrated else None
    if mode == "int4":
        return _int4_matrix(layer)
    if mode == "int8" and not (layer.inputs_quantizer and is_matmul(layer)):
        return _int8_matrix(layer)
    return None


def _int8_matrix(layer: Any) -> LowBitMatrix:
    kernel = _values(layer._kernel)
    if not hasattr(layer, "equation"):
        return LowBitMatrix(kernel, _reciprocal(layer.kernel_scale))
    if not contracts_first(layer):
        flat = kernel.reshape(len(kernel), -1)
        return LowBitMatrix(flat, np.ones(flat.shape[1], np.float32))
    scale = _reciprocal(layer._adjust_scale_for_dequant(layer.kernel_scale)).reshape(-1)
    return LowBitMatrix(kernel.reshape(-1, len(scale)), scale)


def contracts_first(layer: Any) -> bool:
    """Whether the contracted axes of an EinsumDense kernel come first, as the rows of a matrix.

    Otherwise its scales are no part of a ``LowBitMatrix`` in int8: they are left to the layer.
    """
    reduced = list(layer._kernel_reduced_axes)
    return reduced == list(range(len(reduced)))


def is_matmul(layer: Any) -> bool:
    """Whether a Dense or EinsumDense contracts the last axes of its input, in their order."""
    return not hasattr(layer, "equation") or contracted_axes(layer.equation) is not None


def contracted_axes(equation: str) -> int | None:
    """How many last axes of the input a matrix contracts; ``None`` where it is another einsum."""
    x, kernel, output = equation.replace("->", ",").split(",")
    if x.startswith("...") and output.startswith("..."):
        x, output = x[3:], output[3:]
    if "." in x + output:
        return None
    count = sum(label not in output for label in kernel)
    rows, columns = kernel[:count], kernel[count:]
    fits = count > 0 and x.endswith(rows) and output == x[: len(x) - count] + columns
    return count if fits else None


def _int4_matrix(layer: Any) -> LowBitMatrix:
    einsum = hasattr(layer, "equation")
    columns = layer._int4_unpacked_column_size if einsum else layer._orig_output_dim
    codes = unpacked(_values(layer._kernel), columns)
    if _block_size(layer) is None:
        return LowBitMatrix(codes, _reciprocal(layer.kernel_scale))
    scale, zero, index = layer.kernel_scale, layer.kernel_zero, layer.g_idx
    return _grouped(layer, codes, _values(scale), _values(zero), _values(index))


def _calibrated_matrix(layer: Any) -> LowBitMatrix:
    """GPTQ and AWQ keep the transposed kernel, its columns two a byte where they have 4 bits."""
    columns = int(layer.kernel_scale.shape[0])
    stored = _values(layer.quantized_kernel)
    if stored.shape[0] != columns:
        stored = unpacked(stored.T, columns).T
    codes = np.ascontiguousarray(stored.T)
    scale, zero = (
        np.ascontiguousarray(_values(v).T) for v in (layer.kernel_scale, layer.kernel_zero)
    )
    return _grouped(layer, codes, scale, zero, _values(layer.g_idx))


def _reverse_matrix(layer: Any, mode: str) -> LowBitMatrix | None:
    """What ``ReversibleEmbedding`` multiplies by; an int4 one that is tied has only its table."""
    if mode == "int8" and not layer.inputs_quantizer:
        if layer.tie_weights:
            scale = _reciprocal(layer.embeddings_scale)
            return LowBitMatrix(_values(layer._embeddings), scale, axis=0)
        scale = _reciprocal(layer.reverse_embeddings_scale)
        return LowBitMatrix(_values(layer.reverse_embeddings), scale)
    if mode != "int4" or layer.tie_weights:
        return None
    codes = np.ascontiguousarray(unpacked(_values(layer.reverse_embeddings).T, layer.output_dim).T)
    scale = layer.reverse_embeddings_scale
    if _block_size(layer) is None:
        return LowBitMatrix(codes, _reciprocal(scale))
    zero = _values(layer.reverse_embeddings_zero)
    return _grouped(layer, codes, _values(scale), zero, _values(layer.g_idx))


def _table(layer: Any, mode: str) -> LowBitTable | None:
    if mode != "int4":
        return None
    codes = unpacked(_values(layer._embeddings), layer.output_dim)
    half = (layer.output_dim + 1) // 2
    raised = np.zeros((len(codes), 2 * half), np.uint8)
    np.add(codes, 8, out=raised[:, : layer.output_dim], casting="unsafe")
    return LowBitTable(layer._embeddings.path, raised[:, :half] | (raised[:, half:] << 4))


def _grouped(layer: Any, codes: Array, scale: Array, zero: Array, index: Array) -> LowBitMatrix:
    """Rows whose group ``index`` names; ``scale`` and ``zero`` are (groups, columns)."""
    scale = scale.astype(np.float32)
    whole = zero.astype(codes.dtype)
    if not np.array_equal(whole.astype(np.float64), zero.astype(np.float64)):
        raise _unfit(layer, "its zero points are not whole numbers")
    if len(scale) == 1:
        return LowBitMatrix(codes, scale[0], whole[0])
    groups = index.astype(np.int64)
    sorting = np.argsort(groups, kind="stable")
    size = int(np.count_nonzero(groups == 0))
    if not np.array_equal(groups[sorting], np.arange(len(codes)) // max(size, 1)):
        raise _unfit(layer, "its groups of rows are not of one size")
    if np.array_equal(sorting, np.arange(len(codes))):
        return LowBitMatrix(codes, scale, whole, block_size=size)
    order = np.argsort(sorting).astype(np.int64)
    return LowBitMatrix(codes[sorting], scale, whole, block_size=size, order=order)


def unpacked(packed: Array, columns: int) -> Array:
    """Integers of four bits, two a byte along the last axis with the low half first.

    ``packed``: int8 or uint8 (rows, ceil(columns / 2)); gives (rows, columns) of its type.
    """
    low, high = packed & 15, (packed >> 4) & 15
    codes = np.stack([low, high], axis=-1).reshape(len(packed), -1)[:, :columns]
    return ((codes ^ 8) - 8).astype(np.int8) if packed.dtype == np.int8 else codes


def _block_size(layer: Any) -> int | None:
    size = getattr(layer, "_int4_block_size", None)
    return None if size is None or size <= 0 else int(size)


def _values(variable: Any) -> Array:
    from converter.lowering.variables import values_of

    return values_of(variable.value)


def _reciprocal(scale: Any) -> Array:
    import keras

    return (1.0 / np.asarray(keras.ops.convert_to_numpy(scale), np.float64)).astype(np.float32)


def _refuse_float8(layers: Any) -> None:
    names = [layer.name for layer in layers if _mode(layer) == "float8"]
    if names:
        raise UnsupportedOperator(
            f"the layers {', '.join(map(repr, names))} are quantized to float8, which Keras "
            "emulates for training and ONNX Runtime does not multiply in; export the model as it "
            "is before quantize('float8'), and quantize the ONNX file (kilnx quantize)"
        )


def _mode(layer: Any) -> str | None:
    return getattr(layer, "quantization_mode", None)


def _unfit(layer: Any, reason: str) -> UnsupportedOperator:
    return UnsupportedOperator(
        f"the layer {layer.name!r} is quantized ({layer.quantization_mode}) in a way that ONNX has "
        f"no form for: {reason}; quantize the model with contiguous groups, or export it before "
        "it is quantized and quantize the ONNX file (kilnx quantize)"
    )
