from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from converter.passes.cleanup.common_subexpressions import MergeCommonSubexpressions

MERGE = MergeCommonSubexpressions()


def test_equal_nodes_become_one_and_so_do_their_users(graph, check_pass, ops):
    model = graph(
        "(float[N, 4] x) => (float[N, 4] y)",
        """a = LeakyRelu<alpha = 0.1>(x) b = LeakyRelu<alpha = 0.1>(x)
        c = Neg(a) d = Neg(b) y = Add(c, d)""",
    )
    assert check_pass(MERGE, model).modified
    assert ops(model) == ["LeakyRelu", "Neg", "Add"]


def test_small_constants_count_by_what_they_hold(graph, check_pass, ops):
    model = graph(
        "(float[N, 4] x) => (float[A, B, 4] y)",
        "a = Unsqueeze(x, k) b = Unsqueeze(x, l) c = Unsqueeze(x, m) y = Sum(a, b, c)",
        k=np.array([1]),
        l=np.array([1]),
        m=np.array([0]),
    )
    assert check_pass(MERGE, model).modified
    assert ops(model) == ["Unsqueeze", "Unsqueeze", "Sum"]


@pytest.mark.parametrize(
    "body",
    [
        "a = LeakyRelu<alpha = 0.1>(x) b = LeakyRelu<alpha = 0.2>(x) y = Add(a, b)",
        "a = Relu(x) b = Neg(x) y = Add(a, b)",
        "a = Sub(x, two) b = Sub(two, x) y = Add(a, b)",
        "a = com.other.Op(x) b = com.other.Op(x) y = Add(a, b)",
        "a = RandomNormalLike(x) b = RandomNormalLike(x) y = Add(a, b)",
        "c = Sigmoid(x) a = Bernoulli(c) b = Bernoulli(c) y = Add(a, b)",
    ],
)
def test_near_misses_stay(graph, body):
    arrays = {"two": np.float32(2)} if "two" in body else {}
    if "com.other" in body:
        model = ir.from_onnx_text(
            '<ir_version: 9, opset_import: ["" : 18, "com.other" : 1]>'
            f"g (float[N] x) => (float[N] y) {{{body}}}"
        )
    else:
        model = graph("(float[N] x) => (float[N] y)", body, **arrays)
    assert not MERGE(model).modified


def test_two_outputs_need_two_values(graph, check_pass):
    model = graph("(float[N] x) => (float[N] a, float[N] b)", "a = Relu(x) b = Relu(x)")
    assert not check_pass(MERGE, model).modified


def test_one_output_takes_the_value_of_both(graph, check_pass, ops):
    model = graph("(float[N] x) => (float[N] b, float[N] y)",
                  "a = Relu(x) b = Relu(x) y = Add(a, b)")  # fmt: skip
    assert check_pass(MERGE, model).modified
    assert ops(model) == ["Relu", "Add"]


def test_a_branch_has_equal_nodes_of_its_own_and_of_its_parent(graph, check_pass):
    model = graph(
        "(float[N] x, bool c) => (float[N] y)",
        """a = Relu(x) y = If (c) <
          then_branch = t () => (float[N] u) { p = Relu(x) q = Relu(x) u = Add(p, q) },
          else_branch = e () => (float[N] v) { v = Neg(a) }
        >""",
    )
    assert check_pass(MERGE, model).modified
    assert [len(g) for g in model.graphs()] == [2, 1, 1]  # p and q are a


def test_zero_and_minus_zero_differ(graph, check_pass):
    model = graph(
        "(float[N] x) => (float[N] y)",
        "c = Elu<alpha = 0.0>(x) d = Elu<alpha = -0.0>(x) y = Add(c, d)",
    )
    assert not check_pass(MERGE, model).modified


def test_a_body_uses_what_the_graph_around_it_has_computed(graph, check_pass, ops):
    model = graph(
        "(float[N, 4] x, bool c) => (float[N, 4] y)",
        """a = Exp(x)
        y = If (c) <
          then_branch = t () => (float[N, 4] u) { b = Exp(x) u = Neg(b) },
          else_branch = e () => (float[N, 4] v) { d = Exp(x) v = Add(a, d) }
        >""",
    )
    assert check_pass(MERGE, model).modified
    assert sorted(node.op_type for node in model.graph.all_nodes()) == ["Add", "Exp", "If", "Neg"]


def test_a_graph_does_not_use_what_only_a_body_computes(graph, check_pass):
    model = graph(
        "(float[N, 4] x, bool c) => (float[N, 4] y)",
        """a = If (c) <
          then_branch = t () => (float[N, 4] u) { b = Exp(x) u = Neg(b) },
          else_branch = e () => (float[N, 4] v) { d = Exp(x) v = Abs(d) }
        > f = Exp(x) y = Add(a, f)""",
    )
    assert not check_pass(MERGE, model).modified


def test_what_a_body_gives_out_is_computed_in_it(graph, check_pass):
    model = graph(
        "(float[N, 4] x, bool c) => (float[N, 4] y)",
        """a = Exp(x) b = If (c) <
          then_branch = t () => (float[N, 4] u) { u = Exp(x) },
          else_branch = e () => (float[N, 4] v) { v = Neg(x) }
        > y = Add(a, b)""",
    )
    assert not check_pass(MERGE, model).modified


LOOPS = """a = Loop (n, , x) <
  body = p (int64 i, bool c, float[N, 4] h) => (bool d, float[N, 4] k)
    {{ d = Identity(c) e = Exp(h) f = Exp(h) g = Mul(e, f) k = Sigmoid(g) }}
> b = Loop (n, , x) <
  body = q (int64 j, bool r, float[N, 4] s) => (bool t, float[N, 4] u)
    {{ t = Identity(r) v = Exp(s) w = Mul(v, v) u = {last}(w) }}
> y = Add(a, b)"""


def test_equal_loops_run_once_and_so_do_equal_nodes_inside(graph, check_pass):
    model = graph("(float[N, 4] x) => (float[N, 4] y)", LOOPS.format(last="Sigmoid"), n=np.int64(2))
    assert check_pass(MERGE, model).modified
    kinds = [node.op_type for node in model.graph.all_nodes()]
    assert (kinds.count("Loop"), kinds.count("Exp")) == (1, 1)


def test_loops_that_differ_inside_stay(graph, check_pass):
    model = graph("(float[N, 4] x) => (float[N, 4] y)", LOOPS.format(last="Tanh"), n=np.int64(2))
    check_pass(MERGE, model)
    assert [node.op_type for node in model.graph] == ["Loop", "Loop", "Add"]


def test_bodies_that_draw_random_numbers_are_never_equal(graph):
    body = "{ r = RandomNormalLike(x) U = Add(x, r) }"
    model = graph(
        "(float[N, 4] x, bool c) => (float[N, 4] y)",
        " ".join(
            f"""{name} = If (c) <
              then_branch = t{name} () => (float[N, 4] u{name}) {body.replace("U", "u" + name)},
              else_branch = e{name} () => (float[N, 4] v{name}) {{ v{name} = Neg(x) }}
            >"""
            for name in "ab"
        )
        + " y = Add(a, b)",
    )
    assert not MERGE(model).modified
