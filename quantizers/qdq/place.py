"""Placing QuantizeLinear and DequantizeLinear on the graph.

Activations are unsigned bytes, weights signed bytes with DequantizeLinear, biases INT32 with
DequantizeLinear: the Q/DQ form that ONNX Runtime turns into INT8 kernels when it loads a model.
https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import onnx_ir as ir

from quantizers.calibration.scales import QuantizationParameters
from quantizers.policy.plan import Plan, Unit
from quantizers.qdq.before_subgraphs import settle_before_subgraphs
from quantizers.weights.int8 import (
    QuantizedWeight,
    bias_scale,
    quantize_bias,
    quantize_weight,
    weight_scale,
)
from runtimes.base import Array
from runtimes.onnx_graph.values import drop_if_unused, only_user, replace_value

_SAME_SCALE = 1.0 + 1e-5


def insert_qdq(
    graph: ir.Graph,
    plan: Plan,
    grids: Mapping[ir.Value, QuantizationParameters],
    bias_shifts: Mapping[str, Array] = MappingProxyType({}),
    weights: Mapping[str, QuantizedWeight] = MappingProxyType({}),
) -> None:
    """Put ``plan`` into effect on ``graph``, in place.

    ``grids`` holds the grid of each value in ``plan.quantized_values()``; ``bias_shifts`` what
    is added to the bias of a unit, by its name (float ``[channels]``); ``weights`` the codes of
    a unit's weight where they are not simply the nearest. Float weights and biases that nothing
    reads any more leave the graph, and so do activations whose clipping the grid of their only
    reader does.
    """
    writer = _Writer(graph)
    for value in plan.placed_values():
        uses = None
        if not plan.rounds(value):  # the float result exists, and stays with its float readers
            uses = [
                (use.node, use.idx)
                for use in value.uses()
                if any(unit.reads(use.node, use.idx) for unit in plan.readers(value))
            ]
        _quantize_activation(writer, value, grids[value], uses)
    biases = {unit: _shifted_bias(unit, bias_shifts.get(unit.name)) for unit in plan.units}
    codes = _codes(plan, grids, biases, weights)
    for unit in plan.units:
        if unit.weight is not None:
            _quantize_constants(writer, unit, grids[unit.data[0]], biases[unit], codes[unit])
        if unit.has_activation and not plan.form.symmetric:
            _remove_clipped_activation(unit)
        if unit.operator.on_bytes and not (plan.form.rounds_last or plan.form.symmetric):
            _put_on_bytes(writer, unit, grids[unit.output])
    settle_before_subgraphs(graph, writer.node)


class _Writer:
    """Adds nodes and initializers under names that are unique; equal constants are one.

    New names are numbers with a letter: in a network of many small layers, names made of
    the names of what they belong to would be a twentieth of the INT8 file. Quantized constants
    take over the name of the float constant.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self._names = {str(value.name) for value in graph.inputs}
        self._names.update(graph.initializers)
        for node in graph.all_nodes():
            self._names.update(str(value.name) for value in node.outputs)
        self._counts: Counter[str] = Counter()
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
        self._dequantized: dict[tuple[ir.Value, ...], ir.Value] = {}

    def name(self, prefix: str) -> str:
        """The next free name of the form ``q7``."""
        while True:
            self._counts[prefix] += 1
            name = f"{prefix}{self._counts[prefix]}"
            if name not in self._names:
                self._names.add(name)
                return name

    def constant(self, prefix: str, array: Array) -> ir.Value:
        """An initializer that holds ``array``."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            tensor = ir.tensor(array, name=self.name(prefix))
            value = ir.Value(name=tensor.name, const_value=tensor)
            self.graph.register_initializer(value)
            self._constants[key] = value
        return self._constants[key]

    def node(
        self, op_type: str, prefix: str, inputs: Sequence[ir.Value | None], axis: int | None = None
    ) -> ir.Node:
        """A node called like its output, not in the graph yet."""
        name = self.name(prefix)
        attributes = [] if axis is None else [ir.AttrInt64("axis", axis)]
        return ir.Node("", op_type, inputs, attributes, outputs=[ir.Value(name=name)], name=name)

    def dequantized(
        self, prefix: str, inputs: Sequence[ir.Value], axis: int | None, before: ir.Node
    ) -> ir.Value:
        """The float value of a quantized constant, by one node however many read it."""
        key = tuple(inputs)
        if key not in self._dequantized:
            node = self.node("DequantizeLinear", prefix, inputs, axis)
            self.graph.insert_before(before, node)
            self._dequantized[key] = node.outputs[0]
        return self._dequantized[key]

    def take_name(self, new: ir.Value, old: ir.Value) -> None:
        """Drop ``old`` if nothing reads it any more, and give its name to ``new``."""
        name = str(old.name)
        drop_if_unused([old])
        if name not in self.graph.initializers and new is not old:
            new.name = name


def _quantize_activation(
    writer: _Writer,
    value: ir.Value,
    grid: QuantizationParameters,
    uses: Sequence[tuple[ir.Node, int]] | None,
) -> None:
    """Send ``value`` through its grid for the inputs in ``uses``, or for all (None)."""
    scale = writer.constant("s", np.asarray(grid.scale, dtype=np.float32))
    zero = writer.constant("z", np.asarray(grid.zero_point, dtype=np.uint8))
    quantize = writer.node("QuantizeLinear", "q", [None, scale, zero])
    dequantize = writer.node("DequantizeLinear", "d", [quantize.outputs[0], scale, zero])
    result = dequantize.outputs[0]
    producer = value.producer()
    if producer is not None:
        writer.graph.insert_after(producer, [quantize, dequantize])
    else:
        writer.graph.insert_before(writer.graph[0], [quantize, dequantize])
    if uses is None:
        was_output = value.is_graph_output()
        replace_value(value, result)
        if was_output:  # its name went to the dequantized value, the caller sees no change
            value.name = writer.name("f")
    else:
        for node, index in uses:
            node.replace_input_with(index, result)
    quantize.replace_input_with(0, value)


def _shifted_bias(unit: Unit, shift: Array | None) -> Array | None:
    bias = unit.bias_array()
    if shift is None:
        return bias
    return np.asarray((shift if bias is None else bias + shift).astype(np.float32))


def _codes(
    plan: Plan,
    grids: Mapping[ir.Value, QuantizationParameters],
    biases: Mapping[Unit, Array | None],
    given: Mapping[str, QuantizedWeight],
) -> dict[Unit, QuantizedWeight]:
    """The codes of each unit's weight; of a weight that several read, the same for all."""
    found: dict[Unit, QuantizedWeight] = {}
    for units in plan.weight_groups():
        weight, axis = units[0].weight_array(), units[0].weight_axis
        scales = [
            weight_scale(weight, axis, bias=biases[one], input_scale=grids[one.data[0]].scale)
            for one in units
        ]
        scale, known = np.asarray(np.max(scales, axis=0)), given.get(units[0].name)
        if known is None or np.any(scale > known.scale * _SAME_SCALE):
            # The bias of an (almost) empty channel needs a larger scale than its weights.
            known = quantize_weight(weight, scale, axis)
        found.update(dict.fromkeys(units, known))
    return found


def _quantize_constants(
    writer: _Writer,
    unit: Unit,
    grid: QuantizationParameters,
    bias: Array | None,
    weight: QuantizedWeight,
) -> None:
    assert unit.weight is not None
    scale = weight.scale
    codes = writer.constant("w", weight.codes)
    inputs = [codes, writer.constant("s", scale)]
    if unit.operator.weight_zero_point:
        inputs.append(writer.constant("z", np.zeros(scale.shape, dtype=np.int8)))
    result = writer.dequantized("w", inputs, weight.axis, unit.node)
    unit.node.replace_input_with(_index(unit.node, unit.weight), result)
    writer.take_name(codes, unit.weight)
    if bias is not None:
        step = bias_scale(grid.scale, scale)
        codes = writer.constant("b", quantize_bias(bias, step))
        inputs = [codes, writer.constant("s", step)]
        _set_bias(unit, writer.dequantized("b", inputs, 0, unit.node))
        if unit.bias is not None:
            writer.take_name(codes, unit.bias)


def _set_bias(unit: Unit, bias: ir.Value) -> None:
    if unit.bias is not None:
        reader = next(node for node in (unit.node, *unit.absorbed) if unit.bias in node.inputs)
        reader.replace_input_with(_index(reader, unit.bias), bias)
    elif unit.operator.bias is not None:
        unit.node.resize_inputs(max(len(unit.node.inputs), unit.operator.bias + 1))
        unit.node.replace_input_with(unit.operator.bias, bias)


def _remove_clipped_activation(unit: Unit) -> None:
    """Remove a ReLU or Clip where rounding to the grid behind it clips just as well."""
    activation = unit.absorbed[-1]
    before, after = activation.inputs[0], activation.outputs[0]
    reader = only_user(after)
    if before is None or reader is None or reader.op_type != "QuantizeLinear":
        return
    reader.replace_input_with(0, before)
    if activation.graph is not None:
        activation.graph.remove(activation, safe=True)


def _put_on_bytes(writer: _Writer, unit: Unit, grid: QuantizationParameters) -> None:
    """Let ``unit`` move codes: the Q/DQ around it goes."""
    node, result = unit.node, unit.node.outputs[0]
    before = node.inputs[0].producer() if node.inputs[0] is not None else None
    after = only_user(result)
    assert before is not None
    assert after is not None
    node.replace_input_with(0, before.inputs[0])
    zero_point = np.asarray(grid.zero_point, dtype=np.uint8)
    unit.operator.adapt_to_codes(node, lambda: writer.constant("z", zero_point))
    after.outputs[0].replace_all_uses_with(result)
    result.type = ir.TensorType(ir.DataType.UINT8)
    writer.graph.remove(after, safe=True)
    if not (before.outputs[0].uses() or before.outputs[0].is_graph_output()):
        writer.graph.remove(before, safe=True)


def _index(node: ir.Node, value: ir.Value) -> int:
    return next(index for index, other in enumerate(node.inputs) if other is value)
