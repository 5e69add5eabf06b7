"""Conditions that are known are decided, and what is unknown stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from converter.passes import optimize
from converter.passes.cleanup.constant_if import ResolveConstantIf

Check = Callable[..., ir.Model]
Graph = Callable[..., ir.Model]
Ops = Callable[[ir.Model], list[str]]

CHOICE = """
y = If (c) <
  then_branch = then_graph () => (float[N, 4] t) { a = Mul(x, w) t = Relu(a) },
  else_branch = else_graph () => (float[N, 4] e) { b = Mul(x, w) e = Neg(b) }>
"""


@pytest.mark.parametrize(("taken", "last"), [(True, "Relu"), (False, "Neg")])
def test_the_branch_that_is_taken_stands_in_its_place(
    graph: Graph, check_pass: Check, ops: Ops, taken: bool, last: str
) -> None:
    model = graph(
        "(float[N, 4] x) => (float[N, 4] y)",
        CHOICE,
        c=np.array(taken),
        w=np.arange(4, dtype=np.float32),
    )
    check_pass(ResolveConstantIf(), model)
    assert ops(model) == ["Mul", last]
    assert [value.name for value in model.graph.outputs] == ["y"]


def test_an_if_that_depends_on_an_input_stays(graph: Graph, ops: Ops) -> None:
    model = graph("(float[N, 4] x, bool c) => (float[N, 4] y)", CHOICE, w=np.ones(4, np.float32))
    assert not ResolveConstantIf()(model).modified
    assert ops(model) == ["If"]


def test_one_inside_another_is_resolved_with_it(graph: Graph, check_pass: Check, ops: Ops) -> None:
    model = graph(
        "(float[N, 4] x) => (float[N, 4] y)",
        """
        y = If (c) <
          then_branch = outer () => (float[N, 4] t) {
            k = Constant <value = bool {0}> ()
            t = If (k) <
              then_branch = first () => (float[N, 4] p) { p = Relu(x) },
              else_branch = second () => (float[N, 4] q) { q = Exp(x) }>
          },
          else_branch = other () => (float[N, 4] e) { e = Neg(x) }>
        """,
        c=np.array(True),
    )
    optimize(model)
    assert ops(model) == ["Exp"]


def test_a_condition_on_known_shapes_is_known(graph: Graph, ops: Ops) -> None:
    """As PyTorch writes ``squeeze``: whether an axis has one element."""
    model = graph(
        "(float[N, 1, 4] x) => (float[N, m] y)",
        """
        s = Shape(x) d = Gather(s, one) c = Equal(d, one)
        y = If (c) <
          then_branch = drops () => (float[N, m] t) { t = Squeeze(x, axis) },
          else_branch = keeps () => (float[N, m] e) { e = Identity(x) }>
        """,
        one=np.array(1),
        axis=np.array([1]),
    )
    optimize(model)
    assert "If" not in ops(model)
    assert len(ops(model)) == 1


def test_what_is_handed_out_unchanged_keeps_the_name_of_the_output(
    graph: Graph, check_pass: Check, ops: Ops
) -> None:
    model = graph(
        "(float[N, 4] x) => (float[N, 4] y, float[N, 4] z)",
        """
        y, z = If (c) <
          then_branch = one () => (float[N, 4] t, float[N, 4] u) {
            t = Identity(x) u = Identity(x)
          },
          else_branch = other () => (float[N, 4] e, float[N, 4] f) { e = Neg(x) f = Exp(x) }>
        """,
        c=np.array(True),
    )
    check_pass(ResolveConstantIf(), model)
    assert [value.name for value in model.graph.outputs] == ["y", "z"]


def test_initializers_of_both_sides_may_share_a_name(check_pass: Check) -> None:
    def branch(name: str, number: float) -> ir.Graph:
        tensor = ir.tensor(np.float32(number), name="k")
        k = ir.Value(name="k", const_value=tensor, type=ir.TensorType(tensor.dtype))
        k.shape = ir.Shape(())
        node = ir.node("Mul", [x, k], name=f"{name}_mul")
        node.outputs[0].name = f"{name}_out"
        node.outputs[0].type = x.type
        return ir.Graph([], node.outputs, nodes=[node], initializers=[k], name=name)

    x = ir.val("x", ir.DataType.FLOAT, [2])
    given: list[Any] = []
    for name, taken in (("c", True), ("d", False)):
        tensor = ir.tensor(np.array(taken), name=name)
        value = ir.Value(name=name, const_value=tensor, type=ir.TensorType(tensor.dtype))
        value.shape = ir.Shape(())
        given.append(value)
    nodes = []
    for index, condition in enumerate(given):
        node = ir.node(
            "If",
            [condition],
            {
                "then_branch": branch(f"then_{index}", 2 + index),
                "else_branch": branch(f"else_{index}", 5 + index),
            },
            name=f"if_{index}",
        )
        node.outputs[0].name = f"r_{index}"
        nodes.append(node)
    total = ir.node("Add", [node.outputs[0] for node in nodes], name="total")
    total.outputs[0].name = "y"
    total.outputs[0].type, total.outputs[0].shape = x.type, x.shape
    graph = ir.Graph(
        [x],
        total.outputs,
        nodes=[*nodes, total],
        initializers=given,
        opset_imports={"": 18},
        name="g",
    )
    model = ir.Model(graph, ir_version=9)
    check_pass(ResolveConstantIf(), model)
    numbers = sorted(float(v.const_value.numpy()) for v in model.graph.initializers.values())
    assert {2.0, 6.0} <= set(numbers)
