from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converter.passes.cleanup.clean import Clean, fingerprint


def test_everything_that_nothing_needs_goes(graph, check_pass, ops):
    model = graph(
        "(float[N, 4] x, float[4] w) => (float[N, 4] y)",
        """two = Constant<value_float = 2.0>() dead = Neg(x) deader = Relu(dead)
        i = Identity(x) m = Mul(i, two) n = Mul(x, two) s = Add(m, n) y = Add(s, w)""",
        w=np.ones(4, np.float32),
    )
    model.graph.register_initializer(
        ir.val("unused", const_value=ir.tensor(np.ones(3), name="unused"))
    )
    model.graph.opset_imports["com.unused"] = 1
    model.graph.inputs.pop()
    assert check_pass(Clean(), model).modified
    assert ops(model) == ["Mul", "Add", "Add"]
    assert sorted(model.graph.initializers) == ["two", "w"]
    assert set(model.graph.opset_imports) == {""}
    assert not check_pass(Clean(), model).modified


def test_a_default_of_an_input_becomes_a_constant(graph):
    model = graph("(float[N, 4] x, float[4] w) => (float[N, 4] y)", "y = Add(x, w)",
                  w=np.ones(4, np.float32))  # fmt: skip
    assert Clean()(model).modified
    assert [value.name for value in model.graph.inputs] == ["x"]


def test_unused_optional_outputs_go_and_are_reported(graph, check_pass):
    model = graph("(float[N] x) => (float[N] y)", "[n] d, m = Dropout(x) [o] y = Neg(d)")
    result = check_pass(Clean(), model)
    assert result.modified
    assert [node.op_type for node in model.graph] == ["Neg"]


def test_weights_of_subgraphs_that_nothing_uses_go(graph, check_pass):
    model = graph(
        "(float[N] x, bool c) => (float[N] y)",
        """[i] y = If (c) <
          then_branch = t () => (float[N] u) <float[1] w = {1.0}> { [p] u = Relu(x) },
          else_branch = e () => (float[N] v) { k = Constant<value_float = 3.0>() [q] v = Mul(x, k) }
        >""",
    )
    assert check_pass(Clean(), model).modified
    assert [sorted(graph.initializers) for graph in model.graphs()] == [[], [], ["k"]]


def test_the_fingerprint_tells_every_change(graph):
    model = graph("(float[N] x) => (float[N] y)", "a = LeakyRelu<alpha = 0.5>(x) y = Neg(a)")
    before = fingerprint(model)
    assert fingerprint(model) == before
    node = model.graph[0]
    node.attributes.add(ir.AttrFloat32("alpha", 0.25))
    changed = fingerprint(model)
    assert changed != before
    node.name = "other"
    assert fingerprint(model) != changed
