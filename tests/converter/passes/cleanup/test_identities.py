from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from converter.passes.cleanup.identities import RemoveIdentities
from converter.passes.shapes.infer_shapes import InferShapes

ONE, ZERO = np.float32(1), np.float32(0)
NOTHING = {
    "Identity": ("Identity(a)", {}),
    "Dropout": ("Dropout(a)", {}),
    "Dropout with ratio": ("Dropout(a, half, no)", {"half": np.float32(0.5), "no": np.False_}),
    "Cast": ("Cast<to = 1>(a)", {}),
    "Transpose": ("Transpose<perm = [0, 1, 2]>(a)", {}),
    "Concat": ("Concat<axis = 1>(a)", {}),
    "Max": ("Max(a)", {}),
    "Pad": ("Pad(a, k)", {"k": np.zeros(6, np.int64)}),
    "Reshape": ("Reshape(a, k)", {"k": np.array([0, 4, 5])}),
    "Reshape with rest": ("Reshape(a, k)", {"k": np.array([-1, 4, 5])}),
    "Expand": ("Expand(a, k)", {"k": np.array([4, 1])}),
    "Tile": ("Tile(a, k)", {"k": np.array([1, 1, 1])}),
    "Slice": (
        "Slice(a, s, e, ax)",
        {"s": np.array([0, 0]), "e": np.array([2**63 - 1, 5]), "ax": np.array([0, -1])},
    ),
    "plus zero": ("Add(k, a)", {"k": ZERO}),
    "minus zero": ("Sub(a, k)", {"k": np.zeros((4, 1), np.float32)}),
    "times one": ("Mul(a, k)", {"k": np.ones((1, 4, 5), np.float32)}),
    "by one": ("Div(a, k)", {"k": ONE}),
}


def build(graph, expression, arrays, dims="A, B, C"):
    kind = "double" if "to = 11" in expression else "float"
    model = graph(
        f"(float[N, 4, 5] x) => ({kind}[{dims}] y)",
        f"a = Relu(x) b = {expression} y = Neg(b)",
        **arrays,
    )
    InferShapes()(model)
    return model


@pytest.mark.parametrize("name", NOTHING)
def test_what_changes_nothing_goes(graph, check_pass, ops, name):
    model = build(graph, *NOTHING[name])
    assert check_pass(RemoveIdentities(), model).modified
    assert ops(model) == ["Relu", "Neg"]


SOMETHING = {
    "another type": ("Cast<to = 11>(a)", {}),
    "another order": ("Transpose<perm = [0, 2, 1]>(a)", {}),
    "two of them": ("Concat<axis = 1>(a, a)", {}),
    "a border": ("Pad(a, k)", {"k": np.array([0, 0, 0, 0, 0, 1])}),
    "another shape": ("Reshape(a, k)", {"k": np.array([0, 5, 4])}),
    "a batch of two": ("Add(a, k)", {"k": np.zeros((3, 4, 5), np.float32)}),
    "zero minus": ("Sub(k, a)", {"k": ZERO}),
    "one by": ("Div(k, a)", {"k": ONE}),
    "a part": ("Slice(a, s, e, ax)", {"s": np.array([0]), "e": np.array([4]), "ax": np.array([2])}),
    "backwards": (
        "Slice(a, s, e, ax, t)",
        {"s": np.array([4]), "e": np.array([-9]), "ax": np.array([2]), "t": np.array([-1])},
    ),
    "a clip": ("Clip(a, k)", {"k": ONE}),
}


@pytest.mark.parametrize("name", SOMETHING)
def test_near_misses_stay(graph, check_pass, ops, name):
    model = build(graph, *SOMETHING[name])
    before = ops(model)
    assert not check_pass(RemoveIdentities(), model).modified
    assert ops(model) == before


@pytest.mark.parametrize(
    ("expression", "k"),
    [("Expand(a, k)", np.array([1, 1, 1, 1])), ("Mul(a, k)", np.ones((2, 1, 4, 5), np.float32))],
)
def test_a_broadcast_to_more_dimensions_stays(graph, check_pass, expression, k):
    model = build(graph, expression, {"k": k}, "A, B, C, D")
    assert not check_pass(RemoveIdentities(), model).modified


def test_an_output_keeps_its_name(graph, check_pass, ops):
    model = graph("(float[N] x) => (float[N] y)", "a = Relu(x) y = Identity(a)")
    assert check_pass(RemoveIdentities(), model).modified
    assert ops(model) == ["Relu"]


def test_two_outputs_stay_two(graph, check_pass, ops):
    model = graph("(float[N] x) => (float[N] a, float[N] y)", "a = Relu(x) y = Identity(a)")
    assert not check_pass(RemoveIdentities(), model).modified


@pytest.mark.parametrize("source", ["x", "w"])
def test_an_input_or_weight_is_not_an_output(graph, check_pass, source):
    arrays = {"w": np.ones(3, np.float32)} if source == "w" else {}
    model = graph("(float[3] x) => (float[3] y)", f"y = Identity({source})", **arrays)
    assert not check_pass(RemoveIdentities(), model).modified


def test_a_subgraph_does_not_hand_out_an_outer_value(graph, check_pass):
    model = graph(
        "(float[N] x, bool c) => (float[N] y)",
        """a = Relu(x) y = If (c) <
          then_branch = t () => (float[N] u) { u = Identity(a) },
          else_branch = e () => (float[N] v) { i = Identity(a) v = Neg(i) }
        >""",
    )
    assert check_pass(RemoveIdentities(), model).modified
    branches = [graph for graph in model.graphs() if graph is not model.graph]
    assert [[node.op_type for node in branch] for branch in branches] == [["Identity"], ["Neg"]]


def test_dropout_whose_mask_is_used_stays(graph, check_pass):
    model = graph("(float[N] x) => (float[N] y, bool[N] m)", "d, m = Dropout(x) y = Neg(d)")
    assert not check_pass(RemoveIdentities(), model).modified


def test_dropout_in_training_stays(graph):
    model = graph(
        "(float[N] x) => (float[N] y)",
        "d = Dropout(x, half, yes) y = Neg(d)",
        half=np.float32(0.5),
        yes=np.True_,
    )
    assert not RemoveIdentities()(model).modified


def test_what_only_the_removed_value_knew_is_kept(graph):
    model = graph("(float[N] x) => (float[?] y)", "a = Relu(x) b = Identity(a) y = Neg(b)")
    model.graph[1].outputs[0].shape = ir.Shape(["N"])
    RemoveIdentities()(model)
    assert model.graph[0].outputs[0].shape == ["N"]
