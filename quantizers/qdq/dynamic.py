"""Operators that static INT8 cannot reach: recurrent layers and embedding tables.

ONNX Runtime runs an LSTM with INT8 weights and inputs that it rounds as they come
(``com.microsoft.DynamicQuantizeLSTM``): no ranges are needed. For GRU and RNN it has no such
kernel; there the weights are stored as bytes and widened when the model runs. An embedding only
looks rows up: it looks up bytes, and what was found is widened.
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir

from quantizers.options import TargetCpu
from quantizers.policy.operators.table import operator_of
from quantizers.weights.int8 import WEIGHT_LEVELS, quantize_weight, weight_scale
from quantizers.weights.saturation import CodeRange, largest_pair_sum
from runtimes.base import Array
from runtimes.onnx_graph.values import (
    add_initializer,
    constant,
    drop_if_unused,
    replace_value,
    take_place,
    unused_name,
)
from runtimes.targets import Int8Form, Storage

Form = Literal["int8 dynamic", "int8 weights"]
"""How reports call what ONNX Runtime does with the weights."""

_MICROSOFT = "com.microsoft"

WIDENED = "_wide"
"""What the name of a lookup's node ends with, to name the node that widens what it finds."""

# How much larger the squared rounding error of weights may be for the faster kernel: 3 dB.
_TOLERATED = 2.0
_TOLERATED_IN_TABLES = 1.6

# Rounding can put a sum beyond 16 bits again: then the scale grows by at least so much.
_SCALE_STEP = 0.97


@dataclass(frozen=True)
class WeightsOnly:
    """A node whose weights can be bytes, by itself, and how.

    ``together``: names of the nodes that this decides about, because they look up in one table.
    """

    name: str
    op_type: str
    storage: Storage
    together: frozenset[str]

    @property
    def form(self) -> Form:
        """How ONNX Runtime runs it."""
        return "int8 dynamic" if self.storage == "dynamic" else "int8 weights"


def find_weights_only(
    graph: ir.Graph, keep_float: Container[str] = (), form: Int8Form = Int8Form()
) -> list[WeightsOnly]:
    """The recurrent layers and embeddings of ``graph`` whose weights can be bytes in ``form``."""
    found = []
    for node in graph:
        operator = operator_of(node)
        storage = None if operator is None else _taken(operator.storage(node), form)
        if storage is None:
            continue
        together = _together(node, storage)
        if not any(name in keep_float for name in together):
            found.append(WeightsOnly(str(node.name), node.op_type, storage, together))
    return found


def _taken(storage: Storage | None, form: Int8Form) -> Storage | None:
    """The way to store weights that ``form`` has, in place of one that it may not have."""
    if storage == "dynamic" and storage not in form.storage:
        storage = "rows"
    return storage if storage in form.storage else None


def _together(node: ir.Node, storage: Storage) -> frozenset[str]:
    table = node.inputs[0] if storage == "table" else None
    nodes = [node] if table is None else [use.node for use in table.uses()]
    return frozenset(str(one.name) for one in nodes)


def place_weights_only(
    model: ir.Model, chosen: list[WeightsOnly], *, target_cpu: TargetCpu = "any"
) -> dict[str, int]:
    """Store the weights of the ``chosen`` nodes as bytes, in place.

    Gives the fewest levels that a channel of weights has, by the name of each node whose kernel
    multiplies bytes: for ``target_cpu`` "any" no 16-bit sum can saturate, see ``saturation.py``.
    """
    nodes = {str(node.name): node for node in model.graph}
    levels = {}
    stored: dict[ir.Value, _Stored] = {}
    wide: dict[ir.Value, ir.Value] = {}
    for one in chosen:
        node = nodes[one.name]
        match one.storage:
            case "dynamic":
                levels[one.name] = _dynamic_lstm(model, node, stored, guard=target_cpu == "any")
            case "table":
                _byte_table(model.graph, node)
            case "rows":
                _byte_weights(model.graph, node, wide)
    return levels


@dataclass(frozen=True)
class _Stored:
    """A weight of a dynamic LSTM as bytes, with the levels that its rows have at least."""

    codes: ir.Value
    scale: ir.Value
    zero_point: ir.Value
    levels: int


def _dynamic_lstm(
    model: ir.Model, node: ir.Node, stored: dict[ir.Value, _Stored], *, guard: bool
) -> int:
    """``[directions, 4·hidden, inputs]`` becomes bytes ``[directions, inputs, 4·hidden]``.

    ``stored``: weights that are bytes already, for the next layer that reads them. Gives the
    fewest levels of a row of weights.
    """
    inputs = [*node.inputs, *[None] * (8 - len(node.inputs))]
    extra: list[ir.Value | None] = []
    replaced = node.inputs[1:3]
    fewest = WEIGHT_LEVELS
    for index, weight in enumerate(replaced, start=1):
        assert weight is not None
        if weight not in stored:
            stored[weight] = _store(model.graph, weight, guard=guard)
        found = stored[weight]
        inputs[index] = found.codes
        extra += [found.scale, found.zero_point]
        fewest = min(fewest, found.levels)
    attributes = [a for name, a in node.attributes.items() if name != "layout"]
    new = ir.Node(
        _MICROSOFT,
        "DynamicQuantizeLSTM",
        [*inputs, *extra],
        attributes,
        num_outputs=len(node.outputs),
        name=node.name,
    )
    model.graph.insert_before(node, new)
    for old, value in zip(node.outputs, new.outputs, strict=True):
        value.type, value.shape = old.type, old.shape
        take_place(old, value)
    model.graph.remove(node, safe=True)
    drop_if_unused(replaced)
    model.graph.opset_imports.setdefault(_MICROSOFT, 1)
    return fewest


def _store(graph: ir.Graph, value: ir.Value, *, guard: bool) -> _Stored:
    weight, name, levels = constant(value), str(value.name), WEIGHT_LEVELS
    assert weight is not None
    directions = weight.shape[0]
    rows = weight.reshape(-1, weight.shape[2])
    scale = _fast_scale(rows, directions)
    if guard:
        safe = _safe_scale(rows, scale, directions)
        scale, levels = safe, int(WEIGHT_LEVELS * (scale / safe).min())
    codes = quantize_weight(rows, scale, 0).codes.reshape(weight.shape).transpose(0, 2, 1)
    scales = scale.reshape(directions, -1)
    # ONNX Runtime reads as many zero points of the recurrent weights as the others have, so that
    # both have one for each row, whatever their scales.
    zeros = np.zeros(scales.shape, np.int8)
    if not np.any(scales != scales[:, :1]):
        scales = scales[:, 0]
    return _Stored(
        add_initializer(graph, f"{name}_codes", np.ascontiguousarray(codes)),
        add_initializer(graph, f"{name}_scale", scales),
        add_initializer(graph, f"{name}_zero", zeros),
        levels,
    )


def _fast_scale(rows: Array, directions: int) -> Array:
    """A scale a row, the same for each direction where that rounds nearly as well.

    The kernel is a third faster with one scale a direction.
    """
    by_row = weight_scale(rows, 0)
    parts = np.split(rows, directions)
    by_direction = np.repeat([weight_scale(part, None) for part in parts], len(parts[0]))
    coarse = float(np.square(by_direction, dtype=np.float64).mean())
    fine = float(np.square(by_row, dtype=np.float64).mean())
    return by_direction if coarse <= _TOLERATED * fine else by_row


def _safe_scale(rows: Array, scale: Array, directions: int) -> Array:
    """``scale`` made larger where sums of two products would not fit into 16 bits.

    The inputs are put on a grid of their own at every step, so any code may meet any weight. Rows
    of one scale keep one.
    """
    inputs = rows.shape[1]
    seen = CodeRange(np.zeros(inputs), np.full(inputs, 255.0))
    scales = scale.reshape(directions, -1)
    by_direction = not np.any(scales != scales[:, :1])
    while True:
        reach = largest_pair_sum(quantize_weight(rows, scale, 0).codes, seen)
        if by_direction:
            farthest = reach.reshape(directions, -1).max(axis=1)
            reach = np.repeat(farthest, len(reach) // directions)
        if not np.any(reach > 1):
            return scale
        grown = scale * np.maximum(reach, 1 / _SCALE_STEP)
        scale = np.where(reach > 1, grown, scale).astype(np.float32)


def _byte_weights(graph: ir.Graph, node: ir.Node, wide: dict[ir.Value, ir.Value]) -> None:
    """Weights as bytes, one scale a row for both directions, and a node that widens them.

    ``wide``: weights that such a node gives already.
    """
    for index in (1, 2):
        old = node.inputs[index]
        assert old is not None
        if old not in wide:
            weight = constant(old)
            assert weight is not None
            scale = weight_scale(weight, 1)
            codes = quantize_weight(weight, scale, 1).codes
            widened = _widen(
                graph,
                add_initializer(graph, f"{old.name}_codes", codes),
                add_initializer(graph, f"{old.name}_scale", scale),
                1,
            )
            graph.insert_before(node, widened)
            wide[old] = widened.outputs[0]
        node.replace_input_with(index, wide[old])
        drop_if_unused([old])


def _byte_table(graph: ir.Graph, node: ir.Node) -> None:
    """A table as bytes, for all that look up in it, and a node behind each that widens."""
    table = node.inputs[0]
    array = constant(table)
    assert table is not None
    assert array is not None
    if array.dtype != np.float32:  # it came with another lookup
        return
    scale, axis = _table_scale(array)
    codes = add_initializer(graph, f"{table.name}_codes", quantize_weight(array, scale, axis).codes)
    scales = add_initializer(graph, f"{table.name}_scale", scale)
    # Without a zero point ONNX Runtime 1.32 takes the codes for unsigned where it moves them.
    zero = None
    if axis is None:
        zero = add_initializer(graph, f"{table.name}_zero", np.zeros((), dtype=np.int8))
    for use in tuple(table.uses()):
        lookup, result = use.node, use.node.outputs[0]
        wide = _widen(graph, None, scales, None if axis is None else -1, zero)
        wide.name = f"{lookup.name}{WIDENED}"
        wide.outputs[0].type, wide.outputs[0].shape = result.type, result.shape
        graph.insert_after(lookup, wide)
        replace_value(result, wide.outputs[0])
        wide.replace_input_with(0, result)
        result.type = ir.TensorType(ir.DataType.INT8)
        if result.name is None:
            result.name = unused_name(graph, f"{table.name}_row")
        lookup.replace_input_with(0, codes)
    drop_if_unused([table])


def _table_scale(array: Array) -> tuple[Array, int | None]:
    """A scale a column, or one for all where that rounds nearly as well.

    ONNX Runtime widens by one scale ten times as fast.
    """
    by_column, one = weight_scale(array, 1), weight_scale(array, None)
    fine = float(np.square(by_column, dtype=np.float64).mean())
    if float(one) ** 2 <= _TOLERATED_IN_TABLES * fine:
        return one, None
    return by_column, 1


def _widen(
    graph: ir.Graph,
    codes: ir.Value | None,
    scale: ir.Value,
    axis: int | None,
    zero: ir.Value | None = None,
) -> ir.Node:
    name = unused_name(graph, f"{scale.name}_wide")
    value = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT))
    attributes = [] if axis is None else [ir.AttrInt64("axis", axis)]
    inputs = [codes, scale] if zero is None else [codes, scale, zero]
    return ir.Node("", "DequantizeLinear", inputs, attributes, outputs=[value], name=name)
