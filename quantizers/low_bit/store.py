"""An initializer replaced by its codes and the nodes that make the weight of them.

``Cast → Gather (unpack) → Reshape → Cast → [Gather (codebook)] → [Mul (scale)] → [Reshape]``: all
of it reads constants only, so ONNX Runtime folds it when it loads the file (1.20 and 1.32 were
tried) and runs what it would have run. ``DequantizeLinear`` it leaves alone, with scales by the
block as well as by the channel, and runs it again for every inference where no fusion takes it in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from quantizers.low_bit.packing import pack, unpacking_table
from quantizers.low_bit.weight import LowBitWeight
from runtimes.base import Array
from runtimes.onnx_graph.quantized import LOW_BIT_KEY
from runtimes.onnx_graph.values import Names, add_initializer, drop_if_unused

MIN_OPSET = 13
"""From here on all operators that are used take what they are given."""

UNPACKING = "kilnx_unpack"
"""How the names of the tables begin that make codes of packed bytes."""


def store_weight(graph: ir.Graph, value: ir.Value, weight: LowBitWeight) -> ir.Value:
    """Replace the initializer ``value`` of ``graph`` by ``weight``; return what stands for it.

    That has the name and all uses of ``value``, whose old tensor is dropped. ``graph`` is changed
    in place and needs opset 13 or later.
    """
    if value.is_graph_output() or value.is_graph_input():
        raise ValueError(f"{value.name} is an input or output of the graph")
    nodes = _Nodes(graph)
    found = _codes(nodes, weight)
    if weight.scale is not None:
        factor = nodes.constant(weight.scale)
        if weight.scale.dtype != np.float32:
            factor = nodes.add("Cast", [factor], to=ir.DataType.FLOAT)
        found = nodes.add("Mul", [found, factor])
    if weight.blocks != weight.codes.shape:
        found = nodes.add("Reshape", [found, nodes.shape(weight.codes.shape)])
    name = value.name
    value.replace_all_uses_with(found)
    drop_if_unused([value])
    value.name = None
    last = found.producer()
    assert last is not None
    nodes.names.free(str(found.name))
    found.name = last.name = name
    last.metadata_props[LOW_BIT_KEY] = f"{weight.form}"
    nodes.insert()
    return found


def _codes(nodes: _Nodes, weight: LowBitWeight) -> ir.Value:
    """The codes in the shape ``weight.blocks``, as values of the codebook or as floats."""
    if weight.bits == 8:
        found = nodes.constant(weight.codes.reshape(weight.blocks))
    else:
        found = _unpacked(nodes, weight)
    if weight.codebook is None:
        return nodes.add("Cast", [found], to=ir.DataType.FLOAT)
    index = nodes.add("Cast", [found], to=ir.DataType.INT32)
    return nodes.add("Gather", [nodes.constant(weight.codebook), index])


def _unpacked(nodes: _Nodes, weight: LowBitWeight) -> ir.Value:
    packed = pack(weight.codes, weight.bits)
    index = nodes.add("Cast", [nodes.constant(packed)], to=ir.DataType.INT32)
    found = nodes.add("Gather", [nodes.table(weight.bits), index])
    size = weight.codes.size
    if packed.size * (8 // weight.bits) != size:
        found = nodes.add("Reshape", [found, nodes.shape((-1,))])
        found = nodes.add("Slice", [found, nodes.shape((0,)), nodes.shape((size,))])
    return nodes.add("Reshape", [found, nodes.shape(weight.blocks)])


class _Nodes:
    """New nodes at the head of a graph, and short names for what they read and write."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.names = Names(graph)
        for inner in graph.subgraphs():  # where a name of the graph around them means its value
            for value in (*inner.inputs, *inner.initializers.values()):
                self.names.take(str(value.name))
            for output in (output for node in inner for output in node.outputs):
                self.names.take(str(output.name))
        self._made: list[ir.Node] = []

    def add(self, op_type: str, inputs: Sequence[ir.Value], **attributes: int) -> ir.Value:
        node = ir.node(op_type, inputs, attributes=attributes)
        node.name = node.outputs[0].name = self._name()
        self._made.append(node)
        return node.outputs[0]

    def constant(self, array: Array) -> ir.Value:
        value = add_initializer(self.graph, self._name(), np.ascontiguousarray(array), is_free=True)
        value.type, value.shape = None, None
        return value

    def shape(self, shape: Sequence[int]) -> ir.Value:
        """A shape, or anything else that is a few integers; equal ones are stored once."""
        name = "kilnx_" + "x".join(map(str, shape))
        return self._shared(name, np.array(shape, dtype=np.int64))

    def table(self, bits: int) -> ir.Value:
        return self._shared(f"{UNPACKING}{bits}", unpacking_table(bits))

    def insert(self) -> None:
        first = next(iter(self.graph), None)
        if first is None:
            self.graph.extend(self._made)
        else:
            self.graph.insert_before(first, self._made)

    def _shared(self, name: str, array: Array) -> ir.Value:
        known = self.graph.initializers.get(name)
        if known is not None and known.const_value is not None:
            held = known.const_value.numpy()
            if held.dtype == array.dtype and np.array_equal(held, array):
                return known
        return add_initializer(self.graph, name, array)

    def _name(self) -> str:
        return self.names.take("k")
