"""Keras' quantized layers while they are traced: they read stand-ins for what is in few bits.

Unpacked and scaled in the graph, a small int4 kernel would be folded to float32 and a large one
be unpacked at every run. Instead the trace sees a float32 matrix, for which
``converter.lowering.low_bit.dequantize`` writes the integers later, or a packed table, which is
unpacked row by row after the look-up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from converter.lowering.low_bit.weights import (
    LowBitLayer,
    LowBitMatrix,
    contracted_axes,
    contracts_first,
    is_matmul,
)
from converter.lowering.markers import Replacement
from runtimes.base import Array


class LowBitStandIns:
    """Arguments of the traced function in the place of the weights of quantized layers.

    Kernels come first, float32 matrices, then tables, packed as they are.
    """

    def __init__(self, layers: Sequence[LowBitLayer]) -> None:
        self._kernels = [(each.layer, each.kernel) for each in layers if each.kernel is not None]
        self._tables = [(each.layer, each.table) for each in layers if each.table is not None]
        self._served: dict[tuple[int, str], Any] = {}

    def __len__(self) -> int:
        return len(self._kernels) + len(self._tables)

    def specs(self) -> list[Any]:
        """What the arguments are, as TensorFlow's ``TensorSpec``."""
        import tensorflow as tf

        kernels = [(kernel.codes.shape, tf.float32) for _, kernel in self._kernels]
        tables = [(table.packed.shape, tf.uint8) for _, table in self._tables]
        return [
            tf.TensorSpec(shape, dtype, name=f"kilnx_low_bit_{i}")
            for i, (shape, dtype) in enumerate([*kernels, *tables])
        ]

    def serve(self, tensors: Sequence[Any]) -> None:
        """Let the layers read these arguments from now on."""
        roles = [(id(layer), "kernel") for layer, _ in self._kernels]
        roles += [(id(layer), "table") for layer, _ in self._tables]
        self._served.update(zip(roles, tensors, strict=True))

    def named(
        self, names: Sequence[str]
    ) -> tuple[dict[str, LowBitMatrix], dict[str, tuple[str, Array]]]:
        """Matrices, and tables with their Keras paths, by the names of the arguments."""
        count = len(self._kernels)
        kernels = zip(names[:count], self._kernels, strict=True)
        tables = zip(names[count:], self._tables, strict=True)
        return (
            {name: kernel for name, (_, kernel) in kernels},
            {name: (table.path, table.packed) for name, (_, table) in tables},
        )

    def replacements(self) -> list[Replacement]:
        """The quantized calls of Keras' layers, reading what is served."""
        orders = {id(layer): kernel.order for layer, kernel in self._kernels}
        return _replacements(self._served, orders)


def _replacements(
    served: Mapping[tuple[int, str], Any], orders: Mapping[int, Array | None]
) -> list[Replacement]:
    from keras import layers

    def kernel_of(layer: Any) -> Any:
        """The float matrix, in the type that the layer computes in; ``None`` if it has none."""
        import keras
        import tensorflow as tf

        matrix = served.get((id(layer), "kernel"))
        if matrix is None:
            return None
        matrix = keras.ops.cast(matrix, layer.compute_dtype)
        order = orders.get(id(layer))
        return matrix if order is None else tf.gather(matrix, order, axis=0)

    def dense(layer: Any, inputs: Any, training: Any = None) -> Any:
        kernel = kernel_of(layer)
        return NotImplemented if kernel is None else _dense(layer, inputs, kernel)

    def einsum_dense(layer: Any, inputs: Any, training: Any = None) -> Any:
        kernel = kernel_of(layer)
        return NotImplemented if kernel is None else _einsum_dense(layer, inputs, kernel)

    def int8_einsum_dense(layer: Any, inputs: Any, training: Any = None) -> Any:
        if is_matmul(layer) and layer.inputs_quantizer:
            return _int8_einsum_dense(layer, inputs)
        return einsum_dense(layer, inputs)

    def embedding(layer: Any, inputs: Any, training: Any = None) -> Any:
        table = served.get((id(layer), "table"))
        return NotImplemented if table is None else _embedding(layer, inputs, table)

    def reversible(layer: Any, inputs: Any, reverse: bool = False) -> Any:
        if not reverse:
            return NotImplemented
        kernel, table = kernel_of(layer), served.get((id(layer), "table"))
        if kernel is None and table is None:
            return NotImplemented
        return _reverse(layer, inputs, kernel, table)

    calls = ("_int4_call", "_gptq_call", "_awq_call")
    tied = getattr(layers, "ReversibleEmbedding", None)
    return [
        *(Replacement(layers.Dense, call, dense) for call in ("_int8_call", *calls)),
        *(Replacement(layers.EinsumDense, call, einsum_dense) for call in calls),
        Replacement(layers.EinsumDense, "_int8_call", int8_einsum_dense),
        Replacement(layers.Embedding, "_int4_call", embedding),
        Replacement(tied, "_int8_call", reversible),
        Replacement(tied, "_int4_call", reversible),
    ]


def _dense(layer: Any, inputs: Any, kernel: Any) -> Any:
    from keras import ops

    x, scale = inputs, None
    if _quantizes_inputs(layer):
        x, scale = layer.inputs_quantizer(inputs, axis=-1)
        x = ops.cast(x, layer.compute_dtype)
    if layer.quantization_mode == "awq":
        x = ops.multiply(x, ops.reciprocal(ops.cast(layer.awq_scales, layer.compute_dtype)))
    y = ops.matmul(x, kernel)
    if scale is not None:
        y = ops.divide(y, scale)
    if layer.lora_enabled:
        y = _with_lora(layer, y, ops.matmul(inputs, layer.lora_kernel_a))
    return _finish(layer, y)


def _einsum_dense(layer: Any, inputs: Any, kernel: Any) -> Any:
    from keras import ops

    x, scale = inputs, None
    if _quantizes_inputs(layer):
        x, scale = layer.inputs_quantizer(inputs, axis=layer.quantization_axis)
        x = ops.cast(x, layer.compute_dtype)
        scale = layer._adjust_scale_for_quant(scale, "input")
    if layer.quantization_mode == "awq":
        rows = ops.expand_dims(ops.cast(layer.awq_scales, layer.compute_dtype), -1)
        kernel = ops.divide(kernel, rows)
    shape = getattr(layer, "original_kernel_shape", None) or layer._kernel.shape
    y = ops.einsum(layer.equation, x, ops.reshape(kernel, shape))
    if scale is not None:
        y = ops.divide(y, scale)
    if layer.quantization_mode == "int8" and not contracts_first(layer):
        y = ops.divide(y, layer.kernel_scale)
    if layer.lora_enabled:
        y = _with_lora(layer, y, ops.einsum(layer.equation, inputs, layer.lora_kernel_a))
    return _finish(layer, y)


def _int8_einsum_dense(layer: Any, inputs: Any) -> Any:
    """A product of integers, which Keras writes as one of floats where a size is dynamic."""
    import tensorflow as tf
    from keras import ops

    count = contracted_axes(layer.equation) or 1
    x, scale = layer.inputs_quantizer(inputs, axis=layer.quantization_axis)
    kernel = ops.convert_to_tensor(layer._kernel)
    rows, columns = kernel.shape[:count], kernel.shape[count:]
    kernel = ops.reshape(kernel, (math.prod(rows), math.prod(columns)))
    batch, known = tf.shape(x)[:-count], x.shape[:-count]
    if count > 1:
        x = tf.ensure_shape(
            tf.reshape(x, tf.concat([batch, kernel.shape[:1]], 0)), [*known, kernel.shape[0]]
        )
    y = ops.cast(ops.matmul(x, kernel), layer.compute_dtype)
    if len(columns) != 1:
        y = tf.ensure_shape(tf.reshape(y, tf.concat([batch, columns], 0)), [*known, *columns])
    scale = layer._adjust_scale_for_quant(scale, "input")
    y = ops.divide(y, ops.multiply(scale, layer.kernel_scale))
    if layer.lora_enabled:
        y = _with_lora(layer, y, ops.einsum(layer.equation, inputs, layer.lora_kernel_a))
    return _finish(layer, y)


def _embedding(layer: Any, inputs: Any, table: Any) -> Any:
    from keras import ops

    if inputs.dtype not in ("int32", "int64"):
        inputs = ops.cast(inputs, "int32")
    # Keras lets the scale have its own type, which the result then has too.
    codes = ops.cast(_unpacked(ops.take(table, inputs, axis=0), layer), layer.compute_dtype)
    scale = ops.take(layer.embeddings_scale, inputs, axis=0)
    if not _is_grouped(layer):
        outputs = ops.divide(codes, ops.expand_dims(scale, -1))
    else:
        zero = ops.take(layer.embeddings_zero, inputs, axis=0)
        outputs = _rows(layer, codes, scale, zero)
    if layer.lora_enabled:
        looked_up = ops.take(layer.lora_embeddings_a, inputs, axis=0)
        added = ops.matmul(looked_up, layer.lora_embeddings_b)
        outputs = ops.add(outputs, (layer.lora_alpha / layer.lora_rank) * added)
        outputs = ops.cast(outputs, layer.compute_dtype)
    return outputs


def _reverse(layer: Any, inputs: Any, kernel: Any, table: Any) -> Any:
    """Logits of an embedding in reverse: by its own kernel, or by the table that it looks up."""
    from keras import ops

    x, scale = inputs, None
    if layer.inputs_quantizer:
        x, scale = layer.inputs_quantizer(inputs)
        x = ops.cast(x, layer.compute_dtype)
    if layer.tie_weights and table is not None:
        kernel = _unpacked(table, layer)
        if _is_grouped(layer):
            kernel = _whole(layer, kernel)
        else:
            kernel = ops.divide(kernel, ops.expand_dims(layer.embeddings_scale, -1))
        kernel = ops.cast(kernel, layer.compute_dtype)
    logits = ops.matmul(x, ops.transpose(kernel) if layer.tie_weights else kernel)
    if scale is not None:
        logits = ops.divide(logits, scale)
    if layer.logit_soft_cap is not None:
        cap = layer.logit_soft_cap
        logits = ops.multiply(ops.tanh(ops.divide(logits, cap)), cap)
    return logits


def _unpacked(packed: Any, layer: Any) -> Any:
    """The integers of packed rows as float32, see ``LowBitTable``.

    By arithmetic on floats, which every opset has: ONNX has BitwiseAnd from opset 18.
    """
    from keras import ops

    both = ops.cast(packed, "float32")
    high = ops.floor(ops.multiply(both, 1 / 16))
    low = ops.subtract(both, ops.multiply(high, 16.0))
    codes = ops.concatenate([low, high], axis=-1)[..., : layer.output_dim]
    return ops.subtract(codes, 8.0)


def _rows(layer: Any, codes: Any, scale: Any, zero: Any) -> Any:
    """Rows that were looked up, with a scale and a zero point for each group of columns."""
    from keras import ops

    zero = ops.cast(zero, scale.dtype)
    if scale.shape[-1] > 1:
        groups = ops.cast(layer.g_idx, "int32")
        scale, zero = ops.take(scale, groups, axis=-1), ops.take(zero, groups, axis=-1)
    return ops.multiply(ops.subtract(codes, zero), scale)


def _whole(layer: Any, codes: Any) -> Any:
    """A whole table with a scale and a zero point for each group of columns.

    The groups are an axis of their own: repeated for each column, as above, the scales would be
    folded to constants of the size of the table.
    """
    from keras import ops

    scale = ops.cast(layer.embeddings_scale, "float32")
    zero = ops.cast(layer.embeddings_zero, "float32")
    rows, groups = scale.shape
    if groups == 1:
        return ops.multiply(ops.subtract(codes, zero), scale)
    size, columns = layer._int4_block_size, layer.output_dim
    padded = ops.pad(codes, [[0, 0], [0, groups * size - columns]])
    grouped = ops.reshape(padded, (rows, groups, size))
    values = ops.multiply(
        ops.subtract(grouped, ops.expand_dims(zero, -1)), ops.expand_dims(scale, -1)
    )
    return ops.reshape(values, (rows, groups * size))[:, :columns]


def _quantizes_inputs(layer: Any) -> bool:
    """Whether Keras rounds the inputs; with groups of rows it does not, whatever is asked."""
    if layer.quantization_mode not in ("int8", "int4") or _is_grouped(layer):
        return False
    return bool(layer.inputs_quantizer)


def _is_grouped(layer: Any) -> bool:
    return (getattr(layer, "_int4_block_size", None) or -1) > 0


def _with_lora(layer: Any, y: Any, lora: Any) -> Any:
    from keras import ops

    lora = ops.matmul(lora, layer.lora_kernel_b)
    y = ops.add(y, (layer.lora_alpha / layer.lora_rank) * lora)
    return ops.cast(y, layer.compute_dtype)


def _finish(layer: Any, y: Any) -> Any:
    from keras import ops

    if layer.bias is not None:
        y = ops.add(y, layer.bias)
    return y if layer.activation is None else layer.activation(y)
