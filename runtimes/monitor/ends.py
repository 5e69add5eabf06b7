"""The graph that serves, with outputs that tell how much of each activation is at its range's ends.

A code at the end of the INT8 range stands for everything beyond it. The codes are counted where
they are made, after QuantizeLinear, so Q and DQ stay where they were, runtimes fuse the graph as
before, and its own outputs are the same bits. An end that is zero (behind a Relu, say) is left
out: values lie there by right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from runtimes.base import Array
from runtimes.onnx_graph.values import (
    Names,
    add_initializer,
    constant,
    is_constant,
    is_op,
    opset,
)

MOST_ACTIVATIONS = 16
"""The first, the last, and others spread evenly between them."""

_PREFIX = "kilnx_ends"
_RANGES = {
    ir.DataType.UINT8: (0, 255),
    ir.DataType.INT8: (-128, 127),
    ir.DataType.UINT16: (0, 65535),
    ir.DataType.INT16: (-32768, 32767),
}


@dataclass(frozen=True)
class Ends:
    """A graph with counting outputs: by output name the activation that it tells of."""

    model: ir.Model
    activations: dict[str, str]


def with_ends(model: ir.Model, most: int = MOST_ACTIVATIONS) -> Ends:
    """Add the outputs to ``model`` itself; none where nothing in it is quantized by Q/DQ.

    Each output is float32 ``[samples]``: the share of a sample's codes at an end of the range.
    """
    found = [node for node in model.graph if _is_activation(node)]
    chosen = _spread(found, most)
    names = Names(model.graph)
    added = {}
    for place, node in enumerate(chosen):
        output = names.take(f"{_PREFIX}_{place}")
        _count(model, node, output, names)
        added[output] = str(node.inputs[0].name if node.inputs[0] is not None else node.name)
    return Ends(model, added)


def _is_activation(node: ir.Node) -> bool:
    """Whether a node quantizes what depends on the samples, with one scale for all of it."""
    if not is_op(node, "QuantizeLinear") or is_constant(node.inputs[0]):
        return False
    zero, shape = _zero_point(node), getattr(node.inputs[0], "shape", None)
    if zero is None or (shape is not None and len(shape) == 0):
        return False
    return zero[0] in _RANGES


def _zero_point(node: ir.Node) -> tuple[ir.DataType, int] | None:
    """The type of the codes and the code of zero; None where it is not one constant."""
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return ir.DataType.UINT8, 0  # the default, where no output_dtype says otherwise
    value = node.inputs[2]
    array = constant(value)
    if array is None or array.size != 1 or value.dtype is None:
        return None
    return value.dtype, int(array.reshape(-1)[0])


def _spread(nodes: list[ir.Node], most: int) -> list[ir.Node]:
    if len(nodes) <= most:
        return nodes
    return [nodes[round(i * (len(nodes) - 1) / (most - 1))] for i in range(most)]


def _count(model: ir.Model, node: ir.Node, output: str, names: Names) -> None:
    """Add the nodes that count the codes of ``node`` at the ends, as the graph output."""
    kind, zero = _zero_point(node) or (ir.DataType.UINT8, 0)
    codes = node.outputs[0]
    nodes: list[ir.Node] = []

    def add(op: str, inputs: list[ir.Value | None], **attributes: int) -> ir.Value:
        made = ir.node(op, inputs, attributes=attributes)
        made.outputs[0].name = names.take(f"{output}_{op}")
        nodes.append(made)
        return made.outputs[0]

    whole = add("Cast", [codes], to=int(ir.DataType.INT32))
    ends = [end for end in _RANGES[kind] if end != zero] or [_RANGES[kind][1]]
    equal = [
        add("Equal", [whole, _number(model, f"{output}_end", np.array(end, np.int32))])
        for end in ends
    ]
    either = equal[0] if len(equal) == 1 else add("Or", list(equal))
    ones = add("Cast", [either], to=int(ir.DataType.FLOAT))
    flat = add("Flatten", [ones], axis=1)
    if opset(model) >= 18:
        axes = _number(model, f"{output}_axes", np.array([1], np.int64))
        mean = add("ReduceMean", [flat, axes], keepdims=0)
    else:
        made = ir.node("ReduceMean", [flat], attributes={"axes": [1], "keepdims": 0})
        nodes.append(made)
        mean = made.outputs[0]
    names.free(str(mean.name))
    mean.name = output
    mean.type, mean.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([_batch(codes)])
    model.graph.insert_after(node, nodes)
    model.graph.outputs.append(mean)


def _batch(codes: ir.Value) -> int | ir.SymbolicDim | None:
    return codes.shape[0] if codes.shape is not None and len(codes.shape) else None


def _number(model: ir.Model, name: str, array: Array) -> ir.Value:
    return add_initializer(model.graph, name, array)
