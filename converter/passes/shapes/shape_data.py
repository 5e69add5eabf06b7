"""The contents of small integer tensors computed from shapes: numbers and named dimensions.

``Concat(Shape(x)[0], 128)`` holds (batch, 128): enough to know what a Reshape to it does,
although the tensor itself is known only at run time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from runtimes.onnx_graph.values import is_constant, small_ints

# Shapes and what is computed from them are short; longer integer tensors are data.
_LIMIT = 64


@dataclass(frozen=True)
class Dimension:
    """A dimension of which only the name is known; equal names mean equal sizes.

    A dimension without a name in the model gets a unique one.
    """

    name: str
    has_name: bool = True


Element = int | Dimension | None


@dataclass(frozen=True)
class Contents:
    """Elements of an integer tensor of rank 1, or of rank 0 (``scalar``); ``None``: unknown."""

    elements: tuple[Element, ...]
    scalar: bool = False

    def numbers(self) -> tuple[int, ...] | None:
        """The elements, if every one is a number."""
        numbers = tuple(e for e in self.elements if isinstance(e, int))
        return numbers if len(numbers) == len(self.elements) else None


def dimensions(value: ir.Value) -> tuple[int | Dimension, ...] | None:
    """The shape of ``value``; a dimension without a name gets a unique one."""
    if value.shape is None:
        return None
    return tuple(
        dim
        if isinstance(dim, int)
        else Dimension(dim.value)
        if dim.value is not None
        else Dimension(f"{value.name}[{axis}]", has_name=False)
        for axis, dim in enumerate(value.shape)
    )


class ShapeData:
    """Contents of values, computed on demand and cached; valid while the graph does not change."""

    def __init__(self) -> None:
        self._known: dict[ir.Value, Contents | None] = {}

    def contents(self, value: ir.Value | None) -> Contents | None:
        """What ``value`` holds, or ``None`` if nothing is known."""
        if value is None:
            return None
        # Iterative, producers first: a chain of thousands of nodes must not exhaust the stack.
        pending = [value]
        while pending:
            current = pending[-1]
            if current in self._known:
                pending.pop()
                continue
            producer = current.producer()
            sources = [] if producer is None or not _understood(producer) else producer.inputs
            missing = [v for v in sources if v is not None and v not in self._known]
            if missing:
                pending += missing
                continue
            self._known[current] = self._compute(current)
            pending.pop()
        return self._known[value]

    def _compute(self, value: ir.Value) -> Contents | None:
        if is_constant(value):
            numbers = small_ints(value, _LIMIT)
            scalar = value.const_value is not None and len(value.const_value.shape) == 0
            return None if numbers is None else Contents(numbers, scalar)
        node = value.producer()
        if node is None or not _understood(node):
            return None
        known = [self._known.get(v) if v is not None else None for v in node.inputs]
        result = _RULES[node.op_type](node, known)
        return result if result is None or len(result.elements) <= _LIMIT else None


def _understood(node: ir.Node) -> bool:
    return node.domain == "" and node.op_type in _RULES and len(node.outputs) == 1


def _shape(node: ir.Node, known: list[Contents | None]) -> Contents | None:
    dims = dimensions(node.inputs[0]) if node.inputs[0] is not None else None
    start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", None)
    return None if dims is None else Contents(dims[start:end])


def _size(node: ir.Node, known: list[Contents | None]) -> Contents | None:
    dims = dimensions(node.inputs[0]) if node.inputs[0] is not None else None
    return None if dims is None else Contents((_product(dims),), scalar=True)


def _same(node: ir.Node, known: list[Contents | None]) -> Contents | None:
    return known[0]


def _cast(node: ir.Node, known: list[Contents | None]) -> Contents | None:
    to = node.attributes.get_int("to", 0)
    return known[0] if to in (ir.DataType.INT32, ir.DataType.INT64) else None


def _gather(node: ir.Node, known: list[Contents | None]) -> Contents | None:
    data, indices = known
    if data is None or indices is None or data.scalar or node.attributes.get_int("axis", 0) != 0:
        return None
    places = indices.numbers()
    if places is None or any(not -len(data.elements) <= p < len(data.elements) for p in places):
        return None
    return Contents(tuple(data.elements[place] for place in places), indices.scalar)


def _slice(node: ir.Node, known: list[Contents | None]) -> Contents | None:
    data, bounds = known[0], [k.numbers() if k is not None else None for k in known[1:]]
    if data is None or len(bounds) < 2 or any(b is None or len(b) != 1 for b in bounds):
        return None
    start, end, axis, step = ([b[0] for b in bounds if b] + [0, 1][len(bounds) - 2 :])[:4]
    if axis not in (0, -1) or step == 0:
        return None
    return Contents(data.elements[start:end:step])


def _concat(node: ir.Node, known: list[Contents | None]) -> Contents | None:
    parts = [part.elements for part in known if part is not None and not part.scalar]
    return Contents(sum(parts, ())) if len(parts) == len(known) else None


def _squeeze(node: ir.Node, known: list[Contents | None]) -> Contents | None:
    data = known[0]
    return None if data is None or len(data.elements) != 1 else Contents(data.elements, True)


def _unsqueeze(node: ir.Node, known: list[Contents | None]) -> Contents | None:
    data = known[0]
    return Contents(data.elements) if data is not None and data.scalar else None


def _reshape(node: ir.Node, known: list[Contents | None]) -> Contents | None:
    data, target = known[0], known[1]
    if data is None or target is None or len(target.elements) > 1:
        return None
    return Contents(data.elements, scalar=not target.elements)


def _elementwise(node: ir.Node, known: list[Contents | None]) -> Contents | None:
    left, right = known
    if left is None or right is None:
        return None
    length = max(len(left.elements), len(right.elements))
    if {len(left.elements), len(right.elements)} - {1, length}:
        return None
    combine = _COMBINE[node.op_type]
    pairs = zip(_widen(left, length), _widen(right, length), strict=True)
    return Contents(tuple(combine(a, b) for a, b in pairs), left.scalar and right.scalar)


def _widen(contents: Contents, length: int) -> tuple[Element, ...]:
    elements = contents.elements
    return elements * length if len(elements) == 1 else elements


def _add(a: Element, b: Element) -> Element:
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    return a if b == 0 else b if a == 0 else None


def _subtract(a: Element, b: Element) -> Element:
    if isinstance(a, int) and isinstance(b, int):
        return a - b
    return a if b == 0 else 0 if a is not None and a == b else None


def _multiply(a: Element, b: Element) -> Element:
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    return a if b == 1 else b if a == 1 else 0 if 0 in (a, b) else None


def _divide(a: Element, b: Element) -> Element:
    if isinstance(a, int) and isinstance(b, int):
        return None if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    return a if b == 1 else None


def _maximum(a: Element, b: Element) -> Element:
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return a if a == b else None


def _minimum(a: Element, b: Element) -> Element:
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return a if a == b else None


_COMBINE: dict[str, Callable[[Element, Element], Element]] = {
    "Add": _add,
    "Sub": _subtract,
    "Mul": _multiply,
    "Div": _divide,
    "Max": _maximum,
    "Min": _minimum,
}


def _product(elements: tuple[Element, ...]) -> Element:
    result: Element = 1
    for element in elements:
        result = _multiply(result, element)
    return result


def _reduce_product(node: ir.Node, known: list[Contents | None]) -> Contents | None:
    data = known[0]
    if data is None or data.scalar:
        return None
    return Contents((_product(data.elements),), scalar=not node.attributes.get_int("keepdims", 1))


_RULES: dict[str, Callable[[ir.Node, list[Contents | None]], Contents | None]] = {
    "Shape": _shape,
    "Size": _size,
    "Identity": _same,
    "Cast": _cast,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "ReduceProd": _reduce_product,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _elementwise),
}
