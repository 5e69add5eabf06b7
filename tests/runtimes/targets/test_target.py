"""A target refuses files outside of its operators, and names the node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest

from runtimes.errors import ConversionError, ModelError
from runtimes.targets import Refusal, Target

Graph = Callable[..., ir.Model]

TARGET = Target(
    "small",
    "Small",
    "cpu",
    "cpu",
    opset=18,
    refused={
        "Erf": (Refusal("Small has no Erf"),),
        "Softmax": (Refusal("Small counts axes from the front", {"axis": (-1, -2)}),),
        "com.microsoft.Gelu": (Refusal("never"),),
    },
)


def _model(graph: Graph, body: str, opset: int = 18) -> ir.Model:
    model = graph("(float[n, 4] x) => (float[n, 4] y)", body, opset=opset)
    for place, node in enumerate(model.graph):
        node.name = f"node {place}"
    return model


def test_a_file_inside_passes(graph: Graph) -> None:
    TARGET.check(_model(graph, "y = Relu(x)"))


def test_a_refused_operator_is_named_with_its_node_and_the_way_out(graph: Graph) -> None:
    with pytest.raises(ModelError, match=r"'node 1' is an Erf: Small has no Erf.*another --target"):
        TARGET.check(_model(graph, "a = Relu(x) y = Erf(a)"))


@pytest.mark.parametrize(("operator", "text"), [("LSTM", "an LSTM"), ("GRU", "a GRU")])
def test_an_operator_that_is_spelt_out_has_its_article(operator: str, text: str) -> None:
    target = replace(TARGET, refused={operator: (Refusal("no"),)})
    model = ir.Model(ir.Graph([], [], nodes=[ir.Node("", operator, [])]), ir_version=9)
    assert text in next(target.problems(model))


def test_the_caller_chooses_the_error_and_the_name(graph: Graph) -> None:
    with pytest.raises(ConversionError, match=r"^model\.onnx does not run on the target 'small'"):
        TARGET.check(_model(graph, "y = Erf(x)"), name="model.onnx", error=ConversionError)


@pytest.mark.parametrize(("axis", "problems"), [(-1, 1), (-2, 1), (1, 0)])
def test_an_attribute_can_decide(graph: Graph, axis: int, problems: int) -> None:
    model = _model(graph, f"y = Softmax<axis = {axis}>(x)")
    assert len(list(TARGET.problems(model))) == problems


@pytest.mark.parametrize(("indices", "problems"), [("i", 1), ("k", 0)])
def test_whether_an_input_is_computed_can_decide(graph: Graph, indices: str, problems: int) -> None:
    target = replace(TARGET, refused={"Gather": (Refusal("tables only", computed=(1,)),)})
    given = {"k": np.array([0])} if indices == "k" else {}
    text = f"y = Gather (x, {indices})"
    model = graph("(float[4] x, int64[n] i) => (float[n] y)", text, **given)
    assert len(list(target.problems(model))) == problems


def test_an_attribute_that_is_left_out_is_none_of_the_values(graph: Graph) -> None:
    assert not list(TARGET.problems(_model(graph, "y = Softmax(x)")))


def test_a_newer_opset_is_refused(graph: Graph) -> None:
    (found,) = TARGET.problems(_model(graph, "y = Relu(x)", opset=19))
    assert "has opset 19, and Small opens 18 at most" in found


def test_a_foreign_domain_is_refused(graph: Graph) -> None:
    model = _model(graph, "y = Relu(x)")
    model.opset_imports["com.microsoft"] = 1
    next(iter(model.graph)).domain = "com.microsoft"
    (found,) = TARGET.problems(model)
    assert "Small has no operators of the domain 'com.microsoft'" in found


def test_an_operator_in_a_branch_is_found(graph: Graph) -> None:
    model = graph(
        "(float[n, 4] x, bool c) => (float[n, 4] y)",
        """y = If(c) <then_branch = a () => (float[n, 4] t) {t = Erf(x)},
                     else_branch = b () => (float[n, 4] e) {e = Relu(x)}>""",
    )
    (found,) = TARGET.problems(model)
    assert "an Erf" in found


def test_one_sample_at_a_time_refuses_a_fixed_batch_of_more(graph: Graph) -> None:
    single = Target("single", "Single", "cpu", "cpu", batch="one")
    for batch, problems in (("n", 0), ("1", 0), ("2", 1)):
        model = graph(f"(float[{batch}, 4] x) => (float[{batch}, 4] y)", "y = Relu(x)")
        assert len(list(single.problems(model))) == problems


def test_a_few_are_named_and_the_rest_counted(graph: Graph) -> None:
    body = "a = Erf(x) b = Erf(a) c = Erf(b) d = Erf(c) y = Erf(d)"
    with pytest.raises(ModelError, match=r"'node 2' is an Erf.*and 2 more"):
        TARGET.check(_model(graph, body))
