"""GELU as separate nodes: kept recognizable below opset 20, replaced by Gelu from there on.

``x/2 · (1 + erf(x/√2))``, and its approximation ``x/2 · (1 + tanh(√(2/π) · (x + 0.044715·x³)))``.
https://arxiv.org/abs/1606.08415, https://onnx.ai/onnx/operators/onnx__Gelu.html
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from runtimes.onnx_graph.rewrite import Refuse, Refused, RewritePass
from runtimes.onnx_graph.values import (
    add_initializer,
    all_nodes,
    constant,
    drop_if_unused,
    is_op,
    only_user,
    opset,
    take_place,
)

# The first opset with Gelu.
_OPSET = 20
# In the tanh approximation: https://arxiv.org/abs/1606.08415, section 2.
_CUBIC = 0.044715
# The types for which ONNX Runtime's CPU provider has the operator.
_TYPES = (np.float32, np.float16)


class FuseGelu(RewritePass):
    """Fuse the nodes of a GELU, exact or with tanh, into one Gelu, from opset 20 on.

    The factors may be in any order, with the half before or after the product. Constants must
    match the formula up to the precision of the element type. Refused: an intermediate result
    that is used elsewhere or is an output of the graph. Element types other than float and
    float16 are left alone.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Fuse in the main graph and its subgraphs."""
        if opset(model) < _OPSET:
            return False
        modified = False
        for node in all_nodes(model):
            if node.graph is None or not is_op(node, "Mul"):
                continue
            for x, inner, approximate in _readings(node):
                try:
                    _fuse(node, x, inner, approximate)
                except Refused as reason:
                    refuse(node, str(reason))
                    continue
                modified = True
                break
        return modified


class HalveGeluFirst(RewritePass):
    """``(x · gate) · ½ = (x · ½) · gate`` for the gate ``1 + erf(x/√2)`` of an exact GELU.

    A half that comes last is an affine map like any other and would be folded into the layer that
    follows (or into the gate). ONNX Runtime would then not recognize the formula, which it runs as
    one kernel. It also requires a Div by √2, so a Mul by √½ is replaced by one. Refused: a result
    that would change but is used elsewhere or is an output of the graph.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Move each half to the front, in the main graph and its subgraphs."""
        modified = False
        for node in all_nodes(model):
            readings = _readings(node) if is_op(node, "Mul") else ()
            for x, (inner, gate, _, scaled), _ in (one for one in readings if one[2] == "none"):
                try:
                    _require_same_rank(x, node.outputs[0])
                    modified = _swap_gate(node, inner, gate) or modified
                    modified = _divide(scaled) or modified
                except Refused as reason:
                    refuse(node, str(reason))
                break
        return modified


_Reading = tuple[ir.Value, list[ir.Node], str]
"""The input, all nodes but the last, and the value of ``approximate``."""


def _readings(node: ir.Node) -> Iterator[_Reading]:
    """Each way to read ``node`` as the last of a GELU: x · half · gate in any grouping."""
    for left, right in _pairs(node):
        if _is_number(right, 0.5) and (product := _producer(left, "Mul")) is not None:
            # (x · gate) · half
            for x, gate in _pairs(product):
                yield from _gated(x, gate, [product])
        if (halved := _producer(left, "Mul", "Div")) is not None:
            # (x · half) · gate
            whole = _scaled(halved, 0.5)
            if whole is not None:
                yield from _gated(whole, right, [halved])
        if (halved := _producer(right, "Mul")) is not None:
            # x · (half · gate)
            whole = _scaled(halved, 0.5)
            if whole is not None:
                yield from _gated(left, whole, [halved])


def _gated(x: ir.Value, gate: ir.Value, nodes: list[ir.Node]) -> Iterator[_Reading]:
    """The readings in which ``gate`` is ``1 + erf(x/√2)`` or ``1 + tanh(…)`` of the same ``x``."""
    added = _producer(gate, "Add")
    curve = None if added is None else _without(added, 1.0)
    if added is None or curve is None:
        return
    erf = _producer(curve, "Erf")
    if erf is not None and erf.inputs[0] is not None:
        scaled = _producer(erf.inputs[0], "Mul", "Div")
        if scaled is not None and _scaled(scaled, math.sqrt(0.5)) is x:
            yield x, [*nodes, added, erf, scaled], "none"
    tanh = _producer(curve, "Tanh")
    if tanh is not None and (inside := _cubic(tanh.inputs[0], x)) is not None:
        yield x, [*nodes, added, tanh, *inside], "tanh"


def _cubic(value: ir.Value | None, x: ir.Value) -> list[ir.Node] | None:
    """The nodes of ``√(2/π) · (x + 0.044715·x³)``, if they compute ``value``."""
    scaled = _producer(value, "Mul")
    total = _producer(_scaled(scaled, math.sqrt(2 / math.pi)), "Add") if scaled else None
    if scaled is None or total is None:
        return None
    for first, second in _pairs(total):
        weighted = _producer(second, "Mul") if first is x else None
        power = _producer(_scaled(weighted, _CUBIC), "Pow") if weighted else None
        if weighted and power and power.inputs[0] is x and _is_number(power.inputs[1], 3.0):
            return [scaled, total, weighted, power]
    return None


def _pairs(node: ir.Node) -> Iterator[tuple[ir.Value, ir.Value]]:
    """The two operands in both orders."""
    if len(node.inputs) == 2:
        left, right = node.inputs
        if left is not None and right is not None:
            yield left, right
            yield right, left


def _producer(value: ir.Value | None, *op_types: str) -> ir.Node | None:
    node = None if value is None else value.producer()
    return node if is_op(node, *op_types) else None


def _scaled(node: ir.Node | None, factor: float) -> ir.Value | None:
    """What ``node`` multiplies by ``factor``, as a Mul or as a Div by its reciprocal."""
    if is_op(node, "Div"):
        assert node is not None
        return node.inputs[0] if _is_number(node.inputs[1], 1 / factor) else None
    return None if node is None else _without(node, factor)


def _without(node: ir.Node, number: float) -> ir.Value | None:
    """The operand next to the constant ``number``."""
    return next((left for left, right in _pairs(node) if _is_number(right, number)), None)


def _is_number(value: ir.Value | None, number: float) -> bool:
    array = constant(value)
    if array is None or array.size != 1 or array.dtype not in _TYPES:
        return False
    # Allow for two roundings: of the number itself, and of the reciprocal or root it came from.
    tolerance = 4 * float(np.finfo(array.dtype).eps) * abs(number)
    return abs(float(array.reshape(())) - number) <= tolerance


def _swap_gate(last: ir.Node, inner: ir.Node, gate: ir.Node) -> bool:
    """Swap the gate in ``inner`` with the factor of ``last``, unless ``last`` already has it."""
    places = [index for index, value in enumerate(inner.inputs) if value is gate.outputs[0]]
    if not places:
        return False
    _require_only_user(inner.outputs[0])
    outer = 0 if last.inputs[1] is inner.outputs[0] else 1
    factor = last.inputs[outer]
    last.replace_input_with(outer, inner.inputs[places[0]])
    inner.replace_input_with(places[0], factor)
    return True


def _divide(scaled: ir.Node) -> bool:
    """Make ``scaled`` divide by √2 if it multiplies by √½."""
    if not is_op(scaled, "Mul"):
        return False
    graph = scaled.graph
    if not isinstance(graph, ir.Graph):
        raise Refused("it belongs to a function")
    factor = next(value for value in scaled.inputs if constant(value) is not None)
    x = next(value for value in scaled.inputs if value is not factor)
    array = constant(factor)
    assert array is not None
    root = np.full(array.shape, math.sqrt(2), array.dtype)
    scaled.op_type = "Div"
    scaled.replace_input_with(0, x)
    scaled.replace_input_with(1, add_initializer(graph, f"{scaled.name}_root", root))
    drop_if_unused([factor])
    return True


def _require_only_user(value: ir.Value) -> None:
    if only_user(value) is None:
        what = "an output of the graph" if value.is_graph_output() else "used elsewhere"
        raise Refused(f"a result inside it, {value.name!r}, is {what} too")


def _require_same_rank(x: ir.Value, output: ir.Value) -> None:
    if output.shape is not None and x.shape is not None and len(output.shape) != len(x.shape):
        raise Refused("a constant in it has more dimensions than the data")


def _fuse(last: ir.Node, x: ir.Value, inner: list[ir.Node], approximate: str) -> None:
    graph = last.graph
    if not isinstance(graph, ir.Graph):
        raise Refused("it belongs to a function")
    output = last.outputs[0]
    for node in inner:
        _require_only_user(node.outputs[0])
        if node.graph is not graph:
            raise Refused(f"a result inside it, {node.outputs[0].name!r}, is used elsewhere too")
    _require_same_rank(x, output)
    fused = ir.node("Gelu", [x], {"approximate": approximate}, name=last.name)
    fused.metadata_props.update(last.metadata_props)
    result = fused.outputs[0]
    result.type, result.shape = output.type, output.shape
    graph.insert_before(last, fused)
    take_place(output, result)
    constants = [value for node in (last, *inner) for value in node.inputs]
    graph.remove(_users_first([last, *inner]), safe=True)
    drop_if_unused(constants)


def _users_first(nodes: list[ir.Node]) -> list[ir.Node]:
    """The nodes without duplicates, in reverse graph order."""
    wanted = {id(node) for node in nodes}
    graph = nodes[0].graph
    assert graph is not None
    return [node for node in reversed(graph) if id(node) in wanted]
