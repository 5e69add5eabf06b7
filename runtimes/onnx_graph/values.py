"""Helpers that passes use to inspect values and to replace them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

Array = np.ndarray[Any, np.dtype[Any]]


def is_constant(value: ir.Value | None) -> bool:
    """Whether ``value`` is an initializer that a caller cannot override at run time."""
    return (
        value is not None
        and value.const_value is not None
        and value.is_initializer()
        and not value.is_graph_input()
    )


def constant(value: ir.Value | None) -> Array | None:
    """The array of a constant (shared memory: do not write to it), or ``None``."""
    if value is None or value.const_value is None or not is_constant(value):
        return None
    return np.asarray(value.const_value.numpy())


def small_ints(value: ir.Value | None, limit: int = 64) -> tuple[int, ...] | None:
    """The integers in a small constant of rank 0 or 1; ``None`` for any other value."""
    if value is None or value.const_value is None or not is_constant(value):
        return None
    tensor = value.const_value
    if tensor.size > limit or len(tensor.shape) > 1 or tensor.dtype not in _INTEGERS:
        return None
    return tuple(int(x) for x in tensor.numpy().reshape(-1))


_INTEGERS = {ir.DataType.INT64, ir.DataType.INT32}


def rank(value: ir.Value | None) -> int | None:
    """Number of dimensions, if known."""
    return None if value is None or value.shape is None else len(value.shape)


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """The shape, if every dimension is a number."""
    if value is None or value.shape is None:
        return None
    dims = [dim for dim in value.shape if isinstance(dim, int)]
    return tuple(dims) if len(dims) == len(value.shape) else None


def refine_shape(value: ir.Value, shape: ir.Shape | None) -> None:
    """Refine the shape of ``value`` with ``shape``: numbers take precedence over names.

    If the two contradict each other, ``value`` keeps its own shape.
    """
    if shape is None:
        return
    if value.shape is None:
        value.shape = shape.copy()
        return
    if len(shape) != len(value.shape):
        return
    dims: list[int | ir.SymbolicDim] = []
    for have, other in zip(value.shape, shape, strict=True):
        known = isinstance(have, int) or (have.value is not None and not isinstance(other, int))
        dims.append(have if known else other)
    value.shape = ir.Shape(dims)


def shape_of(tensor: ir.TensorProtocol) -> tuple[int, ...]:
    """Shape of a tensor: always numbers, unlike the shape of a value."""
    return tuple(dim for dim in tensor.shape if isinstance(dim, int))


def is_op(node: ir.Node | None, *op_types: str) -> bool:
    """Whether ``node`` is one of these operators of the standard ONNX domain."""
    return node is not None and node.domain == "" and node.op_type in op_types


def opset(model: ir.Model) -> int:
    """Version of the standard operator set that ``model`` is written in (0 if it uses none)."""
    return model.graph.opset_imports.get("", 0)


def only_user(value: ir.Value) -> ir.Node | None:
    """The node that uses ``value``, if that is its only use.

    Being a graph output counts as another use, and so does a second use by the same node.
    """
    uses = value.uses()
    if len(uses) != 1 or value.is_graph_output():
        return None
    return next(iter(uses)).node


def all_nodes(model: ir.Model) -> Iterator[ir.Node]:
    """Nodes of the main graph and its subgraphs; the graph may be changed during iteration."""
    for graph in tuple(model.graphs()):
        yield from tuple(graph)


class Names:
    """The names of values in a graph, for creating new ones that do not clash."""

    def __init__(self, graph: ir.Graph) -> None:
        self._taken = {value.name for value in graph.inputs} | set(graph.initializers)
        self._taken |= {output.name for node in graph for output in node.outputs}

    def take(self, base: str) -> str:
        """``base``, or ``base`` with the first number that makes it unique."""
        name, count = base, 0
        while name in self._taken:
            count += 1
            name = f"{base}_{count}"
        self._taken.add(name)
        return name

    def free(self, name: str) -> None:
        """Make ``name`` available again."""
        self._taken.discard(name)


def unused_name(graph: ir.Graph, base: str) -> str:
    """``base``, or ``base`` with the first number that makes it unique in ``graph``."""
    return Names(graph).take(base)


def add_initializer(graph: ir.Graph, name: str, array: Array, *, is_free: bool = False) -> ir.Value:
    """Register ``array`` as a new initializer of ``graph``, called ``name`` or similar.

    ``array`` is not copied. ``is_free`` promises that no value has the name, which saves checking
    all of them.
    """
    unique = name if is_free else unused_name(graph, name)
    tensor = ir.tensor(array, name=unique)
    value = ir.Value(
        name=unique,
        type=ir.TensorType(tensor.dtype),
        shape=ir.Shape(array.shape),
        const_value=tensor,
    )
    graph.register_initializer(value)
    return value


def replace_value(old: ir.Value, new: ir.Value) -> None:
    """Make everything that used ``old`` use ``new``, graph outputs included.

    ``new`` takes the name of a graph output that it replaces, so that callers see no change.
    """
    if not old.is_graph_output():
        old.replace_all_uses_with(new)
        return
    name = old.name
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    old.name = None
    new.name = name
    if new.type is None:
        new.type = old.type
    if old.shape is not None:
        new.shape = old.shape


def take_place(old: ir.Value, new: ir.Value) -> None:
    """``replace_value``, and ``new`` always takes the name of ``old``."""
    name = old.name
    replace_value(old, new)
    old.name, new.name = None, name


def can_be_output(value: ir.Value, graph: ir.Graph | ir.Function) -> bool:
    """Whether ``value`` can replace another value as an output of ``graph``."""
    producer = value.producer()
    return producer is not None and producer.graph is graph and not value.is_graph_output()


def drop_if_unused(values: Sequence[ir.Value | None]) -> None:
    """Remove unused initializers from their graph, so that their memory is freed."""
    for value in values:
        if (
            value is not None
            and value.is_initializer()
            and not value.uses()
            and not value.is_graph_output()
            and not value.is_graph_input()
            and value.graph is not None
            and value.name is not None
        ):
            value.graph.initializers.pop(value.name, None)


def looks_up(node: ir.Node, table: ir.Value) -> bool:
    """Whether ``node`` looks rows of ``table`` up by an index."""
    return (
        is_op(node, "Gather")
        and node.inputs[0] is table
        and node.inputs[1] is not table
        and node.attributes.get_int("axis", 0) == 0
    )
