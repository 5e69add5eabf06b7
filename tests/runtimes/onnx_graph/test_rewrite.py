from __future__ import annotations

from runtimes.onnx_graph.rewrite import Refusal, RewritePass, describe


class RefuseAll(RewritePass):
    """Refuses every node twice."""

    def __init__(self, why: str = "because") -> None:
        self.why = why

    def rewrite(self, model, refuse):
        for node in [*model.graph, *model.graph]:
            refuse(node, self.why)
        return False


def test_refusals_come_once_in_graph_order(graph):
    model = graph("(float[N] x) => (float[N] y)", "[first] a = Relu(x) y = Neg(a)")
    result = RefuseAll()(model)
    assert not result.modified
    assert result.model is model
    assert result.refusals == (
        Refusal("RefuseAll", "Relu first", "because"),
        Refusal("RefuseAll", "Neg y", "because"),
    )
    assert str(result.refusals[0]) == "RefuseAll: Relu first: because"


def test_a_pass_keeps_nothing_of_a_call(graph):
    step = RefuseAll()
    model = graph("(float[N] x) => (float[N] y)", "y = Neg(x)")
    assert step(model).refusals == step(model).refusals
    assert vars(step) == {"why": "because"}


def test_a_pass_prints_its_options():
    assert repr(RefuseAll(why="no")) == "RefuseAll(why='no')"


def test_a_node_without_any_name_is_called_by_its_operator(graph):
    model = graph("(float[N] x) => (float[N] y)", "y = Neg(x)")
    model.graph[0].outputs[0].name = None
    assert describe(model.graph[0]) == "Neg"
