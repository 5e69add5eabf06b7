"""Which weights of a graph can be stored in fewer bits, and what is known of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from quantizers.low_bit.codes import Inputs, PairLimit
from quantizers.low_bit.rows import Rows
from quantizers.options import QuantizeOptions
from quantizers.policy.plan import Unit, make_plan
from quantizers.weights.codes import observe_covariances
from quantizers.weights.saturation import kernel_order
from runtimes.base import Array
from runtimes.data.dataset import Dataset
from runtimes.onnx_files.load_save import model_inputs
from runtimes.onnx_graph.layer_names import label_of
from runtimes.onnx_graph.values import add_initializer, constant, is_constant, is_op, shape_of

# The nodes that make a weight of its codes take a few hundred bytes themselves.
_FEWEST = 512

# Where INT8 codes of a weight are read: by operator, the inputs that take them.
_TAKE_CODES: Mapping[str, tuple[int, ...]] = {
    "DequantizeLinear": (0,),
    "Gather": (0,),
    "DynamicQuantizeLSTM": (1, 2),
}

# Two products of unsigned bytes and weights whose absolute values sum up to this fit in 16 bits.
_SAFE_PAIR = 128


@dataclass(frozen=True, eq=False)
class Target:
    """A weight that can be stored in fewer bits.

    Attributes:
        name: Of its initializer.
        layer: Where it is used.
        is_int8: It is the INT8 weight of an operator that is quantized; else float32.
        rows: Its matrix form.
        row_scale: What the codes of each row are multiplied by, if that is known.
        inputs: What it is multiplied with, if that is known.
        unit: The operator that reads it, if there is one that multiplies by it.
    """

    name: str
    layer: str
    is_int8: bool
    rows: Rows
    row_scale: Array | None = None
    inputs: Inputs | None = None
    unit: Unit | None = None

    def limit(self, codes: Array) -> PairLimit | None:
        """How far INT8 weights in place of ``codes`` may go where 16-bit sums saturate.

        No pair further than the furthest of its output, because those were chosen so; None where
        nothing saturates.
        """
        if self.unit is None:
            return None
        order = kernel_order(self.unit, np.arange(codes.size).reshape(codes.shape))
        if order is None:
            return None
        return PairLimit(order, np.maximum(_largest_pair(codes.reshape(-1)[order]), _SAFE_PAIR))


def find_targets(model: ir.Model, data: Dataset, options: QuantizeOptions) -> list[Target]:
    """The weights of ``model`` that can be stored in fewer bits, in the order of their use.

    ``data`` shows what they are multiplied with. The model stays as it is.
    """
    found = _bare_targets(model)
    if not found:
        return []
    float_form, origins = _in_float(model)
    plan = make_plan(float_form.graph)
    units = {
        origins.get(str(unit.weight.name), str(unit.weight.name)): unit
        for unit in plan.units
        if unit.weight is not None and len(unit.weight.uses()) == 1
    }
    bound = data.bind(model_inputs(float_form))
    seen = observe_covariances(float_form, plan, bound, options, bias_corrected=False)
    return [_known(model, target, units.get(target.name), seen) for target in found]


def _known(model: ir.Model, target: Target, unit: Unit | None, seen: Mapping[str, Array]) -> Target:
    """``target`` with what its ``unit`` tells."""
    if unit is None:
        return target
    shape = target.rows.shape
    columns = unit.weight_axis == 1 and len(shape) == 2
    covariance = seen.get(unit.name)
    if covariance is not None and not np.isfinite(covariance).all():
        covariance = None  # infinities of a mask, say
    groups = 1 if covariance is None else len(covariance)
    rows = target.rows
    if columns or unit.weight_axis == 0:
        rows = Rows(shape, columns=columns, groups=groups)
    inputs = None if covariance is None else Inputs(covariance)
    scale = _scale_of(model, target.name) if target.is_int8 else None
    count = shape[1] if columns else rows.shape[0]
    if scale is not None and scale.size != count:
        scale = np.full(count, scale.reshape(-1)[0]) if scale.size == 1 else None
    return Target(target.name, target.layer, target.is_int8, rows, scale, inputs, unit)


def _bare_targets(model: ir.Model) -> list[Target]:
    found = []
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor is None or tensor.size < _FEWEST or not is_constant(value):
            continue
        uses = list(value.uses())
        if not uses or value.is_graph_output():
            continue
        is_int8 = tensor.dtype == ir.DataType.INT8 and all(
            _takes_codes(use.node, use.idx) for use in uses
        )
        is_float = tensor.dtype == ir.DataType.FLOAT and not any(
            _takes_scale(use.node) for use in uses
        )
        if is_int8 or (is_float and bool(np.isfinite(tensor.numpy()).all())):
            rows = Rows.of_shape(shape_of(tensor))
            found.append(Target(str(value.name), _layer(uses[0].node), is_int8, rows))
    return found


def _takes_codes(node: ir.Node, index: int) -> bool:
    return index in _TAKE_CODES.get(node.op_type, ())


def _takes_scale(node: ir.Node) -> bool:
    return "Quantize" in node.op_type or node.op_type == "DequantizeLinear"


def _layer(node: ir.Node) -> str:
    """Where a weight is used: the layer of what reads its floats."""
    while node.op_type == "DequantizeLinear":
        readers = [use.node for use in node.outputs[0].uses()]
        if len(readers) != 1:
            break
        node = readers[0]
    return label_of(node)


def _in_float(model: ir.Model) -> tuple[ir.Model, dict[str, str]]:
    """A copy in which quantized weights and biases are floats, and whose codes each was."""
    copy = model.clone()
    origins = {}
    for node in list(_dequantized(copy)):
        codes, output = node.inputs[0], node.outputs[0]
        assert codes is not None
        name = str(output.name)
        exact = _dequantize(node)
        value = add_initializer(copy.graph, name, exact, is_free=True)  # the output's, which goes
        output.replace_all_uses_with(value)
        copy.graph.remove(node, safe=True)
        origins[name] = str(codes.name)
    common.NameFixPass()(copy)
    common.ShapeInferencePass(strict_mode=False)(copy)
    return copy, origins


def _dequantized(model: ir.Model) -> Iterator[ir.Node]:
    """The nodes of the main graph that make floats of constant codes."""
    for node in model.graph:
        if not is_op(node, "DequantizeLinear") or node.outputs[0].is_graph_output():
            continue
        if all(is_constant(value) for value in node.inputs if value is not None):
            yield node


def _dequantize(node: ir.Node) -> Array:
    codes, scale = (constant(value) for value in node.inputs[:2])
    assert codes is not None
    assert scale is not None
    zero = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    shape = [1] * codes.ndim
    if scale.size > 1:
        shape[node.attributes.get_int("axis", 1)] = -1
    exact = codes.astype(np.float32)
    if zero is not None:
        exact = exact - zero.astype(np.float32).reshape(shape if zero.size > 1 else -1)
    return np.asarray(exact * scale.reshape(shape), dtype=np.float32)


def _scale_of(model: ir.Model, name: str) -> Array | None:
    """The scales that the INT8 weight called ``name`` is read with, ``[rows]`` or ``[]``."""
    for use in model.graph.initializers[name].uses():
        if use.node.op_type == "DequantizeLinear":
            return constant(use.node.inputs[1])
    return None


def _largest_pair(rows: Array) -> Array:
    """The largest sum of two neighbours' absolute values in each row."""
    size = np.abs(rows.astype(np.int32))
    if size.shape[1] % 2:
        size = np.pad(size, ((0, 0), (0, 1)))
    return np.asarray(size.reshape(len(size), -1, 2).sum(axis=2).max(axis=1, initial=0))
