"""Weights of a quantized graph on coarser grids: fewer bits, or one scale for all channels.

The codes stay bytes behind DequantizeLinear, of which only the least are used, so every runtime
has kernels for them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from quantizers.training.parameters import Parameter, parameters_of
from quantizers.training.scales import factors_of, product_behind, scale_of, separate_bias_scales
from quantizers.weights.int8 import bias_scale, quantize_bias, quantize_weight
from runtimes.base import Array
from runtimes.onnx_graph.values import add_initializer, constant, drop_if_unused, is_op

# Clipping the largest weights leaves smaller steps for the others: tried down to this share.
_SHARES = np.linspace(1.0, 0.3, 29)
_LEAST_SCALE = 1e-12


def with_weight_bits(model: ir.Model, bits: int, *, per_channel: bool) -> ir.Model:
    """A copy of ``model`` whose INT8 weights have codes of ``bits``.

    ``per_channel``: a scale for each channel that had one, else one for the whole weight.
    """
    coarser = model.clone()
    separate_bias_scales(coarser)
    biases = {
        name: parameter.initial("float64")
        for name, parameter in parameters_of(coarser).items()
        if factors_of(parameter.value) is not None
    }
    for parameter, node in list(weights_of(coarser)):
        _coarsen(coarser.graph, parameter, node, 2.0 ** (bits - 1) - 1, per_channel=per_channel)
    for name, floats in biases.items():
        _scale_bias(coarser.graph.initializers[name], floats)
    return coarser


def _scale_bias(bias: ir.Value, floats: Array) -> None:
    """Put a bias on the grid that follows from the scales of now."""
    ((node, _),) = bias.uses()
    product = product_behind(node)
    own = node.inputs[1]
    assert product is not None
    assert own is not None
    data, weight = (constant(scale_of(one)) for one in product.inputs[:2])
    assert data is not None
    assert weight is not None
    step = bias_scale(float(data.reshape(())), weight)
    own.const_value = ir.tensor(step, name=str(own.name))
    own.type, own.shape = None, None
    bias.const_value = ir.tensor(quantize_bias(floats, step), name=str(bias.name))


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


def levels_of(model: ir.Model) -> dict[str, float]:
    """The largest code that each of those weights has now, by name.

    Trained weights keep to it: a weight may have few levels so that sums do not saturate.
    """
    return {
        parameter.name: max(1.0, float(np.abs(_codes(parameter).astype(np.int64)).max(initial=0)))
        for parameter, _ in weights_of(model)
    }


def _codes(parameter: Parameter) -> Array:
    assert parameter.value.const_value is not None
    return np.asarray(parameter.value.const_value.numpy())


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
    before = list(node.inputs[1:])
    node.replace_input_with(1, add_initializer(graph, f"{parameter.name}_scale", scale))
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        zero = np.zeros(scale.shape, np.int8)
        node.replace_input_with(2, add_initializer(graph, f"{parameter.name}_zero_point", zero))
    drop_if_unused(before)
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
