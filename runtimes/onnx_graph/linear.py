"""Operators that are linear in a constant weight, and the channels of that weight.

For each operator: which axes of its weight are the output and the input channels, groups
included, so that scaling a channel of the data becomes scaling a slice of the weight.
https://onnx.ai/onnx/operators/ (Conv, ConvTranspose, Gemm, MatMul)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from runtimes.onnx_graph.affine import FLOATS, Float64
from runtimes.onnx_graph.rewrite import Refused
from runtimes.onnx_graph.values import (
    Array,
    add_initializer,
    constant,
    drop_if_unused,
    is_constant,
    is_op,
    shape_of,
)


@dataclass(frozen=True)
class Linear:
    """One linear operator with a constant weight.

    ``data`` and ``weight`` are positions among the node's inputs; ``output_axis`` and
    ``input_axis`` are the channel axes of its output and its data input, counted from the
    end. ``bias`` is the position of its bias input, ``None`` if it has none (MatMul). If a
    matrix reads flattened samples, ``sample`` is the shape of one before it is flattened and
    ``sample_axis`` is its channel axis.
    """

    node: ir.Node
    data: int
    weight: int
    bias: int | None
    output_axis: int
    input_axis: int
    output_channels: int
    input_channels: int
    groups: int = 1
    transposed: bool = False
    sample: tuple[int, ...] = ()
    sample_axis: int = 0

    @property
    def weight_value(self) -> ir.Value:
        """The constant weight."""
        value = self.node.inputs[self.weight]
        assert value is not None
        return value

    def weight_array(self) -> Float64:
        """The weight in float64 (a copy)."""
        return self._held().astype(np.float64)

    def scale_outputs(self, weight: Float64, scale: Float64) -> Float64:
        """The weight with output channels multiplied by ``scale``, of shape () or (outputs,)."""
        return weight * self._along_outputs(weight, scale) if scale.ndim else weight * scale

    def scale_inputs(self, weight: Float64, scale: Float64) -> Float64:
        """The weight that has the effect of multiplying its input channels by ``scale``."""
        return weight * self._along_inputs(weight, scale) if scale.ndim else weight * scale

    def with_scaled_outputs(self, scale: Float64) -> Array:
        """The weight after ``scale_outputs``, rounded once; ``Refused`` as by ``rounded``."""
        weight = self._held()
        factor = self._along_outputs(weight, scale) if scale.ndim else scale
        return _rounded_product(weight, factor, self.weight_value)

    def with_scaled_inputs(self, scale: Float64) -> Array:
        """The weight after ``scale_inputs``, rounded once; ``Refused`` as by ``rounded``."""
        weight = self._held()
        factor = self._along_inputs(weight, scale) if scale.ndim else scale
        return _rounded_product(weight, factor, self.weight_value)

    def _held(self) -> Array:
        assert self.weight_value.const_value is not None
        return self.weight_value.const_value.numpy()

    def response(self, weight: Float64, offset: Float64) -> Float64:
        """What a constant ``offset`` for each input channel adds to the outputs, (outputs,).

        Correct only if every output sees the whole kernel, see ``sees_border``.
        """
        added: Float64 = weight * (self._along_inputs(weight, offset) if offset.ndim else offset)
        if is_op(self.node, "Conv"):
            return _sum(added, *range(1, added.ndim))
        if is_op(self.node, "ConvTranspose"):
            grouped = added.reshape(self.groups, -1, *added.shape[1:])
            return _sum(grouped, 1, *range(3, grouped.ndim)).reshape(-1)
        alpha = self.node.attributes.get_float("alpha", 1.0) if is_op(self.node, "Gemm") else 1.0
        return alpha * _sum(added, self._matrix_input_axis())

    def sees_border(self) -> bool:
        """Whether some outputs see padding, or only part of the kernel."""
        if is_op(self.node, "Conv"):
            padding = any(self.node.attributes.get_ints("pads", ()))
            return padding or self.node.attributes.get_string("auto_pad", "NOTSET") not in (
                "NOTSET",
                "VALID",
            )
        if is_op(self.node, "ConvTranspose"):
            one = all(k == 1 for k in self.weight_value.const_value.shape[2:])  # type: ignore[union-attr]
            plain = all(s == 1 for s in self.node.attributes.get_ints("strides", ()))
            extra = self.node.attributes.get_ints("output_padding", ()) or ()
            padded = self.node.attributes.get_ints("pads", ()) or ()
            named = {"auto_pad", "output_shape"} & set(self.node.attributes)
            return not (one and plain) or any(extra) or any(padded) or bool(named)
        return False

    def _along_outputs(self, weight: Float64, numbers: Float64) -> Float64:
        if is_op(self.node, "Conv"):
            return numbers.reshape(-1, *[1] * (weight.ndim - 1))
        if is_op(self.node, "ConvTranspose"):
            # (inputs, outputs / groups, …): the inputs of one group share its outputs.
            rows = numbers.reshape(self.groups, 1, -1)
            rows = np.repeat(rows, self.input_channels // self.groups, axis=1)
            return rows.reshape(self.input_channels, -1, *[1] * (weight.ndim - 2))
        return _along(numbers, self._matrix_output_axis(), weight.ndim)

    def _along_inputs(self, weight: Float64, numbers: Float64) -> Float64:
        if self.sample:
            shape = [1] * len(self.sample)
            shape[self.sample_axis] = -1
            numbers = np.broadcast_to(numbers.reshape(shape), self.sample).reshape(-1)
        if is_op(self.node, "Conv"):
            # (outputs, inputs / groups, …): the outputs of one group share its inputs.
            rows = numbers.reshape(self.groups, 1, -1)
            rows = np.repeat(rows, self.output_channels // self.groups, axis=1)
            return rows.reshape(self.output_channels, -1, *[1] * (weight.ndim - 2))
        if is_op(self.node, "ConvTranspose"):
            return numbers.reshape(-1, *[1] * (weight.ndim - 1))
        return _along(numbers, self._matrix_input_axis(), weight.ndim)

    def _matrix_output_axis(self) -> int:
        # A weight on the right is (…, inputs, outputs), one on the left (…, outputs, inputs).
        return -1 if (self.weight == 1) != self.transposed else -2

    def _matrix_input_axis(self) -> int:
        return -3 - self._matrix_output_axis()


def linear_of(node: ir.Node) -> Linear | None:
    """Interpret ``node`` as a linear operator with a constant weight; ``None`` if it is not one.

    Raises ``Refused`` if it is linear, but its weight cannot be changed ahead of time.
    """
    if not is_op(node, "Conv", "ConvTranspose", "Gemm", "MatMul") or len(node.inputs) < 2:
        return None
    weight = 0 if is_op(node, "MatMul", "Gemm") and is_constant(node.inputs[0]) else 1
    value = node.inputs[weight]
    if value is None or not is_constant(value) or value.const_value is None:
        raise Refused("its weight is not a constant")
    if value.const_value.dtype not in FLOATS:
        raise Refused(f"its weight is {value.const_value.dtype.name}, not floating point")
    shape = shape_of(value.const_value)
    if is_op(node, "Conv", "ConvTranspose"):
        return _convolution(node, shape)
    if is_op(node, "Gemm"):
        return _gemm(node, weight, shape)
    if len(shape) < 2:
        raise Refused("its weight is a vector")
    right = weight == 1
    inputs, outputs = (shape[-2], shape[-1]) if right else (shape[-1], shape[-2])
    axis = -1 if right else -2
    return Linear(node, 1 - weight, weight, None, axis, axis, outputs, inputs)


def _convolution(node: ir.Node, shape: tuple[int, ...]) -> Linear:
    groups = node.attributes.get_int("group", 1)
    transposed = is_op(node, "ConvTranspose")
    axis = 1 - len(shape)
    outputs, inputs = shape[0], shape[1] * groups
    if transposed:
        outputs, inputs = inputs, shape[0]
    if len(shape) < 3 or outputs % groups or inputs % groups:
        raise Refused("its weight does not fit its groups")
    return Linear(node, 0, 1, 2, axis, axis, outputs, inputs, groups)


def _gemm(node: ir.Node, weight: int, shape: tuple[int, ...]) -> Linear:
    if weight == 0 or len(shape) != 2:
        raise Refused("its constant is the left operand")
    transposed = bool(node.attributes.get_int("transB", 0))
    inputs, outputs = shape[::-1] if transposed else shape
    data_axis = -2 if node.attributes.get_int("transA", 0) else -1
    return Linear(node, 0, 1, 2, -1, data_axis, outputs, inputs, transposed=transposed)


def bias_of(linear: Linear) -> Float64:
    """The bias as float64 of shape (outputs,), zeros where there is none.

    Gemm's ``beta`` is multiplied in; code that writes the bias back sets ``beta`` to one.
    Raises ``Refused`` for a bias that is not one constant per channel.
    """
    node = linear.node
    value = None
    if linear.bias is not None and len(node.inputs) > linear.bias:
        value = node.inputs[linear.bias]
    if value is None:
        return np.zeros(linear.output_channels)
    array = constant(value)
    if array is None:
        raise Refused("its bias is not a constant")
    numbers: Float64 = array.astype(np.float64)
    if is_op(node, "Gemm"):
        numbers = numbers * node.attributes.get_float("beta", 1.0)
    if numbers.size == 1:
        return np.full(linear.output_channels, numbers.reshape(()))
    if numbers.shape[-1] != numbers.size or numbers.size != linear.output_channels:
        raise Refused("its bias is not one number per channel")
    return numbers.reshape(-1)


# Half a unit in the last place of bfloat16, the coarsest type here, is 2**-9.
_ROUNDING_LIMIT = 2.0**-7
# Elements of a weight that are in float64 at the same time.
_BLOCK = 1 << 18


def rounded(numbers: Float64, like: ir.Value) -> Array:
    """``numbers`` in the type of ``like``; raises ``Refused`` if that type cannot hold them."""
    return _rounded_product(numbers, np.ones(()), like)


def _rounded_product(left: Array, right: Float64, like: ir.Value) -> Array:
    """``left * right`` in float64, rounded once to the type of ``like``.

    Computed a few rows at a time, because a weight may take a large part of the memory.
    """
    assert like.const_value is not None
    dtype = like.const_value.dtype
    result = np.empty(left.shape, dtype.numpy())
    largest = error = 0.0
    for numbers, factors, rounding in _blocks(left, np.broadcast_to(right, left.shape), result):
        exact = numbers.astype(np.float64) * factors
        with np.errstate(over="ignore", under="ignore"):
            rounding[...] = exact.astype(result.dtype)
        back = rounding.astype(np.float64)
        if not np.all(np.isfinite(back)):
            raise Refused(f"the folded numbers do not fit {dtype.name}")
        largest = max(largest, float(np.abs(exact).max(initial=0.0)))
        error = max(error, float(np.abs(back - exact).max(initial=0.0)))
    if error > _ROUNDING_LIMIT * largest:
        raise Refused(f"the folded numbers are too small for {dtype.name}")
    return result


def _blocks(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Split arrays of equal shape into parts along their first axis, as views."""
    arrays = tuple(map(np.atleast_1d, arrays))
    step = max(1, _BLOCK * len(arrays[0]) // max(arrays[0].size, 1))
    for start in range(0, len(arrays[0]), step):
        yield tuple(array[start : start + step] for array in arrays)


def write_weight(users: Sequence[Linear], weight: Array, graph: ir.Graph) -> None:
    """Give all ``users`` of one weight a new one; remove the old one if nothing else uses it."""
    old = users[0].weight_value
    for user in users:
        user.node.replace_input_with(user.weight, None)
    new = _successor(old, weight, graph)
    for user in users:
        user.node.replace_input_with(user.weight, new)


def write_bias(linear: Linear, bias: Array, graph: ir.Graph) -> None:
    """Give ``linear`` (Conv, ConvTranspose or Gemm) a bias of shape (outputs,)."""
    node = linear.node
    assert linear.bias is not None
    if len(node.inputs) <= linear.bias:
        node.resize_inputs(linear.bias + 1)
    old = node.inputs[linear.bias]
    node.replace_input_with(linear.bias, None)
    if old is None:
        new = add_initializer(graph, f"{linear.weight_value.name}_bias", bias)
    else:
        new = _successor(old, bias, graph)
    node.replace_input_with(linear.bias, new)
    if is_op(node, "Gemm"):
        node.attributes.pop("beta", None)


def _successor(old: ir.Value, array: Array, graph: ir.Graph) -> ir.Value:
    """A new initializer that replaces ``old``, under its name if that has become free."""
    drop_if_unused([old])
    return add_initializer(graph, old.name or "weight", array)


def _along(numbers: Float64, axis: int, ndim: int) -> Float64:
    shape = [1] * ndim
    shape[axis] = -1
    return numbers.reshape(shape)


def _sum(numbers: Float64, *axes: int) -> Float64:
    total: Float64 = np.asarray(np.sum(numbers, axis=axes))
    return total
