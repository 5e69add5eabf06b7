"""A tied embedding found again in what was quantized: lookup and product read one table of codes.

A tied embedding is one table that a Gather looks rows up in and a matrix product reads
transposed (Press and Wolf 2017, arXiv:1608.05859).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from runtimes.onnx_graph.rewrite import Refuse, RewritePass
from runtimes.onnx_graph.values import (
    Array,
    Names,
    add_initializer,
    constant,
    drop_if_unused,
    is_op,
    looks_up,
    only_user,
    replace_value,
)

# In steps of the grid. Rounding to the nearest errs by 0.5 at most and by 0.29 in root mean
# square; rounding in turn, which makes up for errors made before, goes beyond both.
_LARGEST_ERROR = 2.5
_MEAN_ERROR = 0.6


class TieQuantizedTables(RewritePass):
    """Let a Gather look up in the INT8 codes of a weight that holds the same table.

    ``Gather(T, i) = Gather(codes, i) × Gather(scale, i)`` up to the rounding of the codes. Where
    the weight was equalized, so that its rows are those of the table times factors, a product
    with the factors' inverses follows. The weight reads the table through a Transpose where it
    has the other order, which ONNX Runtime computes once when it loads the model.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Tie the tables of the main graph."""
        graph = model.graph
        weights = [found for node in graph if (found := _codes_of(node)) is not None]
        modified = False
        for table in [_table_of(value) for value in graph.initializers.values()]:
            for weight in weights if table is not None else ():
                assert table is not None
                factors = _factors(table, weight)
                if factors is not None:
                    _tie(graph, weight, factors, table)
                    drop_if_unused([table.value])
                    modified = True
                    break
        return modified


@dataclass(frozen=True)
class _Table:
    """What is looked up: ``rows``, exact but for ``error``, by which nodes, to which values."""

    value: ir.Value
    rows: Array
    error: Array
    lookups: tuple[tuple[ir.Node, ir.Node], ...]


def _table_of(value: ir.Value) -> _Table | None:
    """A table of float32, or of codes that are dequantized behind each lookup."""
    gathers, rows = list(value.consumers()), constant(value)
    if not gathers or not all(looks_up(node, value) for node in gathers):
        return None
    if rows is None or rows.ndim != 2:
        return None
    if rows.dtype == np.float32:
        pairs = tuple((gather, gather) for gather in gathers)
        return _Table(value, rows, np.zeros(1, np.float32), pairs)
    if rows.dtype != np.int8:
        return None
    ends = [only_user(gather.outputs[0]) for gather in gathers]
    steps = [_column_steps(end, rows.shape[1]) for end in ends]
    first = steps[0]
    if first is None or not all(step is not None and np.array_equal(step, first) for step in steps):
        return None
    pairs = tuple((g, end) for g, end in zip(gathers, ends, strict=True) if end is not None)
    return _Table(value, rows.astype(np.float32) * first, first / 2, pairs)


def _column_steps(node: ir.Node | None, width: int) -> Array | None:
    """Scales of the columns, [width], if ``node`` dequantizes rows by them."""
    if node is None or not is_op(node, "DequantizeLinear"):
        return None
    scale = constant(node.inputs[1])
    shift = constant(node.inputs[2]) if len(node.inputs) > 2 else np.zeros(1)
    if scale is None or scale.size not in (1, width) or shift is None or shift.any():
        return None
    if scale.size > 1 and node.attributes.get_int("axis", 1) != -1:
        return None
    return np.broadcast_to(scale.reshape(-1), (width,))


@dataclass(frozen=True)
class _Codes:
    """Codes of a weight: ``rows``: [rows of the table, width]; ``scale``: one a row, or one."""

    node: ir.Node
    transposed: bool
    rows: Array
    scale: Array


def _codes_of(node: ir.Node) -> _Codes | None:
    """What a DequantizeLinear of a constant matrix holds, if its scales run along the rows."""
    if not is_op(node, "DequantizeLinear") or node.attributes.get_int("block_size", 0) != 0:
        return None
    codes, scale = constant(node.inputs[0]), constant(node.inputs[1])
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    if codes is None or scale is None or codes.ndim != 2 or codes.dtype != np.int8:
        return None
    shift = constant(zero)
    if zero is not None and (shift is None or shift.any()):
        return None
    axis = node.attributes.get_int("axis", 1) % 2
    transposed = axis == 1
    if scale.size == 1:
        transposed = codes.shape[0] < codes.shape[1]
    return _Codes(node, transposed, codes.T if transposed else codes, scale.reshape(-1))


def _factors(table: _Table, weight: _Codes) -> Array | None:
    """Factor of each column between the table and what the codes stand for, if they are tied."""
    rows = table.rows
    if weight.rows.shape != rows.shape:
        return None
    scale = weight.scale[:, None] if weight.scale.size > 1 else weight.scale
    held = weight.rows.astype(np.float32) * scale
    plain = np.ones(rows.shape[1], np.float32)
    if _is_rounded(rows, held, scale + table.error):
        return plain
    energy = np.einsum("ij,ij->j", rows, rows, dtype=np.float64)
    factors = np.einsum("ij,ij->j", held, rows, dtype=np.float64) / np.maximum(energy, 1e-30)
    factors = factors.astype(np.float32)
    if np.all(factors > 0) and _is_rounded(rows * factors, held, scale + table.error * factors):
        return np.asarray(factors)
    return None


def _is_rounded(exact: Array, held: Array, step: Array) -> bool:
    """Whether ``held`` is ``exact`` rounded in steps, not necessarily to the nearest."""
    error = np.abs(held - exact) / step
    return float(error.max()) <= _LARGEST_ERROR and float((error**2).mean()) <= _MEAN_ERROR**2


def _tie(graph: ir.Graph, weight: _Codes, factors: Array, table: _Table) -> None:
    node, names = weight.node, Names(graph)
    codes, scale = node.inputs[0], node.inputs[1]
    assert codes is not None
    assert scale is not None
    if weight.transposed:
        rows = np.ascontiguousarray(weight.rows)
        transposed = add_initializer(graph, f"{codes.name}_table", rows)
        turn = _node(names, "Transpose", [transposed], [ir.AttrInt64s("perm", (1, 0))])
        graph.insert_before(node, turn)
        node.replace_input_with(0, turn.outputs[0])
        drop_if_unused([codes])
        codes = transposed
    for gather, last in table.lookups:
        nodes = _look_up(names, gather, codes, scale)
        if np.any(factors != 1):
            inverse = add_initializer(graph, "factors", 1 / factors)
            nodes.append(_node(names, "Mul", [nodes[-1].outputs[0], inverse]))
        for new in nodes:
            new.metadata_props.update(gather.metadata_props)
        graph.insert_before(gather, nodes)
        result = nodes[-1].outputs[0]
        result.type, result.shape = last.outputs[0].type, last.outputs[0].shape
        replace_value(last.outputs[0], result)
        graph.remove(dict.fromkeys((last, gather)), safe=True)


def _look_up(names: Names, gather: ir.Node, codes: ir.Value, scale: ir.Value) -> list[ir.Node]:
    """The nodes that give the rows that ``gather`` gives, out of codes."""
    index, along = gather.inputs[1], [ir.AttrInt64("axis", 0)]
    rows = _node(names, "Gather", [codes, index], along)
    cast = _node(names, "Cast", rows.outputs, [ir.AttrInt64("to", ir.DataType.FLOAT)])
    nodes, steps = [rows, cast], scale
    if scale.const_value is not None and scale.const_value.size > 1:
        found = _node(names, "Gather", [scale, index], along)
        assert isinstance(gather.graph, ir.Graph)
        last = add_initializer(gather.graph, "last_axis", np.array([-1]))
        column = _node(names, "Unsqueeze", [found.outputs[0], last])
        nodes += [found, column]
        steps = column.outputs[0]
    return [*nodes, _node(names, "Mul", [cast.outputs[0], steps])]


def _node(
    names: Names,
    operator: str,
    inputs: Sequence[ir.Value | None],
    attributes: Sequence[ir.Attr] = (),
) -> ir.Node:
    name = names.take(f"tied_{operator.lower()}")
    return ir.Node("", operator, inputs, attributes, outputs=[ir.Value(name=name)], name=name)
