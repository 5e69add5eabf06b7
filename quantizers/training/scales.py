"""The scales of a graph with Q/DQ pairs: which can be learned, and which follow from others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from quantizers.training.parameters import parameters_of
from runtimes.base import Array
from runtimes.onnx_graph.values import add_initializer, constant, is_op

_NEAR = 1e-4
_SCALE = 1


@dataclass(frozen=True)
class CodeScale:
    """The name of the scale of some codes, and the shape in which it broadcasts to them."""

    scale: str
    shape: tuple[int, ...]

    def spread(self, value: Any) -> Any:
        """The scale, a tensor, in that shape."""
        import tensorflow as tf

        return tf.reshape(value, self.shape)


@dataclass(frozen=True)
class Scales:
    """By the names of initializers.

    ``learned``: scales as they are now. ``products``: those of biases, and of which two they are
    the product. ``codes``: weights and biases whose codes go by such scales.
    """

    learned: Mapping[str, Array]
    products: Mapping[str, tuple[str, str]]
    codes: Mapping[str, CodeScale]


def find_scales(model: ir.Model) -> Scales:
    """The scales of pairs whose codes are activations, or weights and biases read at once.

    Where something else hangs on a scale it stays as it is, and so do those next to it.
    """
    codes = dict(_simple_codes(model))
    products = {
        found.scale: factors
        for name, found in codes.items()
        if (factors := factors_of(model.graph.initializers[name])) is not None
    }
    names = {str(value.name) for value in model.graph.initializers.values() if _is_scale(value)}
    blocked = {
        one.scale
        for name, one in codes.items()
        if _is_bias(model.graph.initializers[name]) and one.scale not in products
    }
    for value in model.graph.initializers.values():
        if _is_scale(value) and any(_is_other_code(node, codes) for node, _ in value.uses()):
            blocked.add(str(value.name))
    learned = names - set(products) - blocked
    products = {name: pair for name, pair in products.items() if learned.issuperset(pair)}
    # A bias that keeps its scale needs the two that it is a product of as they are.
    for name, one in codes.items():
        factors = factors_of(model.graph.initializers[name])
        if factors is not None and one.scale not in products:
            learned -= set(factors)
    products = {name: pair for name, pair in products.items() if learned.issuperset(pair)}
    known = learned | set(products)
    return Scales(
        {name: _array(model, name) for name in sorted(learned)},
        products,
        {name: one for name, one in codes.items() if one.scale in known},
    )


def separate_bias_scales(model: ir.Model) -> None:
    """Give each bias a scale of its own, in place: equal ones may differ once they are learned."""
    for value in list(model.graph.initializers.values()):
        for node, place in list(value.uses()):
            scale = node.inputs[_SCALE] if is_op(node, "DequantizeLinear") else None
            if place or not _is_bias(value) or scale is None or len(scale.uses()) == 1:
                continue
            array = constant(scale)
            if array is not None:
                own = add_initializer(model.graph, f"{value.name}_scale", array)
                node.replace_input_with(_SCALE, own)


def _simple_codes(model: ir.Model) -> Iterator[tuple[str, CodeScale]]:
    """Codes that one DequantizeLinear reads, without zero points or blocks."""
    for name, parameter in parameters_of(model).items():
        uses = list(parameter.value.uses())
        if parameter.scale is None or len(uses) != 1 or not is_op(uses[0][0], "DequantizeLinear"):
            continue
        node = uses[0][0]
        scale = node.inputs[_SCALE]
        zero = parameter.zero_point
        if node.attributes.get_int("block_size", 0) or (zero is not None and np.any(zero)):
            continue
        if scale is not None and _is_scale(scale):
            yield name, CodeScale(str(scale.name), tuple(parameter.scale.shape))


def factors_of(value: ir.Value) -> tuple[str, str] | None:
    """The scales of the input and of the weight whose product the scale of a bias is."""
    uses = list(value.uses())
    if not _is_bias(value) or len(uses) != 1:
        return None
    node = uses[0][0]
    product = product_behind(node)
    found = [] if product is None else [scale_of(one) for one in product.inputs[:2]]
    own = constant(node.inputs[_SCALE])
    if len(found) < 2 or own is None or found[0] is None or found[1] is None:
        return None
    data, weight = constant(found[0]), constant(found[1])
    if data is None or weight is None or data.size != 1 or own.shape != weight.shape:
        return None
    if not np.allclose(own, data * weight, rtol=_NEAR, atol=0):
        return None
    return str(found[0].name), str(found[1].name)


def product_behind(node: ir.Node) -> ir.Node | None:
    """What the bias from the DequantizeLinear ``node`` is added to: MatMul, or Conv and the like.

    None where more than one node reads it, or none.
    """
    uses = list(node.outputs[0].uses())
    if not is_op(node, "DequantizeLinear") or len(uses) != 1:
        return None
    reader, place = uses[0]
    if not is_op(reader, "Add"):
        return reader
    other = reader.inputs[1 - place]
    product = None if other is None else other.producer()
    return product if is_op(product, "MatMul") else None


def scale_of(value: ir.Value | None) -> ir.Value | None:
    """The scale by which a value was dequantized."""
    node = None if value is None else value.producer()
    return node.inputs[_SCALE] if node is not None and is_op(node, "DequantizeLinear") else None


def _is_scale(value: ir.Value) -> bool:
    """Whether an initializer is the scale of pairs and nothing else, and positive."""
    uses = list(value.uses())
    array = constant(value) if uses else None
    return (
        array is not None
        and array.dtype == np.float32
        and not value.is_graph_output()
        and bool(np.all(array > 0))
        and all(
            place == _SCALE and is_op(node, "QuantizeLinear", "DequantizeLinear")
            for node, place in uses
        )
    )


def _is_bias(value: ir.Value) -> bool:
    return value.const_value is not None and value.const_value.dtype == ir.DataType.INT32


def _is_other_code(node: ir.Node, codes: Mapping[str, CodeScale]) -> bool:
    """Whether a DequantizeLinear reads constant codes that are not among ``codes``."""
    value = node.inputs[0]
    return (
        is_op(node, "DequantizeLinear")
        and value is not None
        and (value.const_value is not None or not is_op(value.producer(), "QuantizeLinear"))
        and str(value.name) not in codes
    )


def _array(model: ir.Model, name: str) -> Array:
    array = constant(model.graph.initializers[name])
    assert array is not None
    return array
