"""Weights of a quantized graph on coarser grids: fewer bits, or one scale for all channels.

The codes stay bytes behind DequantizeLinear, of which only the least are used, so every runtime
has kernels for them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from quantizers.training.parameters import Parameter, parameters_of
from quantizers.training.scales import _factors, separate_bias_scales
from quantizers.weights.int8 import bias_scale, quantize_bias, quantize_weight
from runtimes.base import Array
from runtimes.onnx_graph.values import add_initializer, constant, is_op

# Clipping the largest weights leaves smaller steps for the others: tried down to this share.
_SHARES = np.linspace(1.0, 0.3, 29)
_LEAST_SCALE = 1e-12


def with_weight_bits(model: ir.Model, bits: int, *, per_channel: bool) -> ir.Model:
    """A copy of ``model`` whose INT8 weights have codes of ``bits``.

    ``per_channel``: a scale for each channel that had one, else one for the whole weight.
    """
    coarser = model.clone()
    separate_bias_scales(coarser)
    biases = [(value, _factors(value)) for value in coarser.graph.initializers.values()]
    floats = {
        str(value.name): parameters_of(coarser)[str(value.name)].initial("float64")
        for value, factors in biases
        if factors is not None
    }
    readers = {str(value.name): value.uses()[0][0] for value, found in biases if found is not None}
    products = {name: _product_of(node) for name, node in readers.items()}
    for parameter, node in list(weights_of(coarser)):
        _coarsen(coarser.graph, parameter, node, 2.0 ** (bits - 1) - 1, per_channel=per_channel)
    for name, node in readers.items():
        data, weight = (constant(_scale(one)) for one in products[name].inputs[:2])
        assert data is not None
        assert weight is not None
        step = bias_scale(float(data), weight)
        node.inputs[1].const_value = ir.tensor(step, name=str(node.inputs[1].name))  # type: ignore[union-attr]
        codes = quantize_bias(floats[name], step)
        coarser.graph.initializers[name].const_value = ir.tensor(codes, name=name)
    return coarser


def weights_of(model: ir.Model) -> Iterator[tuple[Parameter, ir.Node]]:
    """The symmetric INT8 weights that one DequantizeLinear reads, and that node."""
    for parameter in parameters_of(model).values():
        uses = list(parameter.value.uses())
        tensor = parameter.value.const_value
        if parameter.scale is None or tensor is None or tensor.dtype != ir.DataType.INT8:
            continue
        node = uses[0][0]
        zero = parameter.zero_point
        if len(uses) == 1 and is_op(node, "DequantizeLinear") and not np.any(zero):
            yield parameter, node


def _coarsen(
    graph: ir.Graph, parameter: Parameter, node: ir.Node, levels: float, *, per_channel: bool
) -> None:
    weight = parameter.initial("float32")
    assert parameter.scale is not None
    spread = parameter.scale.shape if per_channel else ()
    axis = next((place for place, size in enumerate(spread) if size > 1), None)
    scale = best_scale(weight, axis, levels)
    found = quantize_weight(weight, scale, axis)
    codes = np.clip(found.codes, -levels, levels).astype(np.int8)
    parameter.value.const_value = ir.tensor(codes, name=parameter.name)
    node.replace_input_with(1, add_initializer(graph, f"{parameter.name}_scale", scale))
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        zero = np.zeros(scale.shape, np.int8)
        node.replace_input_with(2, add_initializer(graph, f"{parameter.name}_zero_point", zero))
    if axis is None:
        node.attributes.pop("axis", None)


def best_scale(weight: Array, axis: int | None, levels: float) -> Array:
    """The scale with the least squared error, for each channel along ``axis`` or for all."""
    others = None if axis is None else tuple(d for d in range(weight.ndim) if d != axis)
    wide = weight.astype(np.float64)
    largest = np.maximum(np.abs(wide).max(axis=others, keepdims=True), _LEAST_SCALE)
    best, least = largest / levels, np.full(largest.shape, np.inf)
    for share in _SHARES:
        scale = largest * share / levels
        rounded = np.clip(np.rint(wide / scale), -levels, levels) * scale
        error = np.square(rounded - wide).sum(axis=others, keepdims=True)
        best, least = np.where(error < least, scale, best), np.minimum(error, least)
    return np.asarray(best.reshape(() if axis is None else -1), np.float32)


def _product_of(node: ir.Node) -> ir.Node:
    """What the bias behind a DequantizeLinear is added to: a MatMul, or Conv and the like."""
    reader, place = node.outputs[0].uses()[0]
    if not is_op(reader, "Add"):
        return reader
    other = reader.inputs[1 - place]
    assert other is not None
    product = other.producer()
    assert product is not None
    return product


def _scale(value: ir.Value | None) -> ir.Value | None:
    node = None if value is None else value.producer()
    return None if node is None else node.inputs[1]
