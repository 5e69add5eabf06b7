from __future__ import annotations

from converter.passes.cleanup.names import UniqueNames


def test_missing_and_repeated_names(graph, check_pass):
    model = graph("(float[N] x) => (float[N] y)", "[n] a = Relu(x) [n] b = Neg(a) y = Abs(b)")
    nodes = list(model.graph)
    nodes[1].outputs[0].name = "a"
    nodes[2].name = ""
    assert UniqueNames()(model).modified
    assert [node.name for node in nodes] == ["n", "n_1", "y"]
    assert [node.outputs[0].name for node in nodes] == ["a", "a_1", "y"]
    assert not check_pass(UniqueNames(), model).modified


def test_names_that_callers_see_stay(graph):
    model = graph("(float[N] x) => (float[N] y)", "a = Relu(x) b = Neg(a) y = Abs(b)")
    first, second, _ = model.graph
    first.outputs[0].name, second.outputs[0].name = "y", "x"
    assert UniqueNames()(model).modified
    assert model.graph.inputs[0].name == "x"
    assert model.graph.outputs[0].name == "y"
    assert [first.outputs[0].name, second.outputs[0].name] == ["y_1", "x_1"]


def test_a_new_name_is_not_one_that_comes_later(graph):
    model = graph(
        "(float[N] x) => (float[N] y)", "a = Relu(x) a_1 = Neg(a) b = Abs(a_1) y = Exp(b)"
    )
    model.graph[2].outputs[0].name = "a"
    UniqueNames()(model)
    assert [node.outputs[0].name for node in model.graph] == ["a", "a_1", "a_2", "y"]


def test_an_output_that_nobody_asked_for_stays_without_name(graph, check_pass):
    model = graph("(float[N] x) => (float[N] y)", "[n] y, m = Dropout(x)")
    model.graph[0].outputs[1].name = ""
    assert not check_pass(UniqueNames(), model).modified


def test_subgraphs_do_not_share_names(graph, check_pass):
    model = graph(
        "(float[N] x, bool c) => (float[N] y)",
        """[i] y = If (c) <
          then_branch = t () => (float[N] u) { [p] u = Relu(x) },
          else_branch = e () => (float[N] u) { [q] u = Neg(x) }
        >""",
    )
    assert check_pass(UniqueNames(), model).modified
    names = [node.outputs[0].name for graph in model.graphs() for node in graph]
    assert names == ["y", "u", "u_1"]
