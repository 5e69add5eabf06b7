"""Which channels go together, operator by operator, and why some have to stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.pruning.groups.selection import Dependencies
from converter.pruning.operators.channels import Channels, connected_components

Graph = Callable[..., ir.Model]
Find = Callable[[ir.Model], Dependencies]


def ones(*shape: int) -> Any:
    return np.ones(shape, np.float32)


def open_units(dependencies: Dependencies) -> dict[str, int]:
    return {group.name: len(group.units) for group in dependencies.groups if group.is_open}


def test_filters_of_one_layer_are_a_group(graph: Graph, dependencies_of: Find) -> None:
    model = graph(
        "(float[N, 3, 8, 8] x) => (float[N, 2, 8, 8] y)",
        "a = Conv(x, w1, b1) r = Relu(a) y = Conv(r, w2)",
        w1=ones(5, 3, 1, 1),
        b1=ones(5),
        w2=ones(2, 5, 1, 1),
    )
    found = dependencies_of(model)
    assert open_units(found) == {"Conv_0": 5}
    touched = {(use.node, use.input, use.axis): use.reads for use in found.uses}
    assert touched == {
        ("Conv_0", 1, 0): False,
        ("Conv_0", 2, 0): False,
        ("Conv_2", 1, 1): True,
        ("Conv_2", 1, 0): False,
    }


def test_a_residual_add_ties_its_branches(graph: Graph, dependencies_of: Find) -> None:
    model = graph(
        "(float[N, 3, 8, 8] x) => (float[N, 2, 8, 8] y)",
        "a = Conv(x, w1) b = Conv(a, w2) c = Conv(b, w3) s = Add(a, c) y = Conv(s, w4)",
        w1=ones(4, 3, 1, 1),
        w2=ones(6, 4, 1, 1),
        w3=ones(4, 6, 1, 1),
        w4=ones(2, 4, 1, 1),
    )
    found = dependencies_of(model)
    assert open_units(found) == {"Conv_0": 4, "Conv_1": 6}
    assert found.groups[0].makers == ("Conv_0", "Conv_2")


def test_a_concat_does_not_tie(graph: Graph, dependencies_of: Find) -> None:
    model = graph(
        "(float[N, 3, 8, 8] x) => (float[N, 2, 8, 8] y)",
        "a = Conv(x, w1) b = Conv(x, w2) s = Concat<axis = 1>(a, x, b) y = Conv(s, w3)",
        w1=ones(4, 3, 1, 1),
        w2=ones(6, 3, 1, 1),
        w3=ones(2, 13, 1, 1),
    )
    assert open_units(dependencies_of(model)) == {"Conv_0": 4, "Conv_1": 6}


@pytest.mark.parametrize(
    ("group", "shape", "units"),
    [
        (8, (8, 1, 3, 3), 8),  # depthwise: each channel by itself
        (8, (16, 1, 3, 3), 8),  # with a multiplier
        (4, (8, 2, 3, 3), 4),  # many small groups go as a whole
        (2, (8, 4, 3, 3), 4),  # of few large ones each loses a channel
    ],
)
def test_grouped_convolutions(
    graph: Graph, dependencies_of: Find, group: int, shape: tuple[int, ...], units: int
) -> None:
    model = graph(
        "(float[N, 3, 8, 8] x) => (float[N, 2, m, m] y)",
        f"a = Conv(x, w1) b = Conv<group = {group}>(a, w2) y = Conv(b, w3)",
        w1=ones(8, 3, 1, 1),
        w2=ones(*shape),
        w3=ones(2, shape[0], 1, 1),
    )
    assert open_units(dependencies_of(model))["Conv_0"] == units


def test_attention_heads_go_as_a_whole(graph: Graph, dependencies_of: Find) -> None:
    model = graph(
        "(float[N, 5, 8] x) => (float[N, 5, 8] y)",
        """
        q = MatMul(x, wq) qs = Reshape(q, split) qt = Transpose<perm = [0, 2, 1, 3]>(qs)
        k = MatMul(x, wk) ks = Reshape(k, split) kt = Transpose<perm = [0, 2, 3, 1]>(ks)
        v = MatMul(x, wv) vs = Reshape(v, split) vt = Transpose<perm = [0, 2, 1, 3]>(vs)
        s = MatMul(qt, kt) p = Softmax(s) o = MatMul(p, vt)
        t = Transpose<perm = [0, 2, 1, 3]>(o) j = Reshape(t, join) y = MatMul(j, wo)
        """,
        wq=ones(8, 6),
        wk=ones(8, 6),
        wv=ones(8, 6),
        wo=ones(6, 8),
        split=np.array([0, 5, 3, 2]),
        join=np.array([0, 5, 6]),
    )
    found = dependencies_of(model)
    assert open_units(found) == {"MatMul_0": 3}
    assert found.groups[0].makers == ("MatMul_0", "MatMul_3", "MatMul_6")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("a = MatMul(x, w) y = Softmax(a)", "Softmax"),
        ("a = MatMul(x, w) y = Relu(a)", "'y' is an output of the model"),
        ("a = MatMul(x, w) s = Det(a) y = Add(a, a)", "no rule says"),
        ("a = MatMul(x, w) b = ReduceMax<keepdims = 1>(a) y = Relu(b)", "not a sum"),
        ("a = MatMul(x, w) y = Add(a, x)", "has no channels to cut"),
        ("a = MatMul(x, w) v = MatMul(a, w) y = ReduceSum<keepdims = 1>(v)", "as a whole"),
        ("a = MatMul(x, w) s = Shape(a) y = Cast<to = 1>(s)", "at run time"),
        ("a = MatMul(x, w) y = CumSum(a, last)", "CumSum"),
        ("a = MatMul(x, w) i = TopK(a, k) y = Relu(a)", "TopK"),
    ],
)
def test_what_closes_a_group_is_named(
    graph: Graph, dependencies_of: Find, body: str, reason: str
) -> None:
    arrays: dict[str, Any] = {"w": ones(4, 4)}
    if "CumSum" in body:
        arrays["last"] = np.array(1)
    if "TopK" in body:
        body = body.replace("i = TopK", "i, j = TopK")
        arrays["k"] = np.array([2])
    if "Det" in body or "Shape" in body:
        signature = "(float[4, 4] x) => (y)"
    else:
        signature = "(float[N, 4] x) => (y)"
    found = dependencies_of(graph_without_check(signature, body, arrays))
    closed = [group for group in found.groups if group.closed_units]
    assert closed
    assert any(reason in str(group.closed_reason) for group in closed), closed


def graph_without_check(signature: str, body: str, arrays: dict[str, Any]) -> ir.Model:
    """A model whose output needs no type: shape inference finds it."""
    signature = signature.replace("(y)", "(float[m, n] y)")
    model = ir.from_onnx_text(f'<ir_version: 9, opset_import: ["" : 18]> g {signature} {{{body}}}')
    used = {v.name: v for node in model.graph for v in node.inputs if v and not v.producer()}
    for name, array in arrays.items():
        value = used[name]
        value.const_value = ir.tensor(np.asarray(array), name=name)
        value.type, value.shape = ir.TensorType(value.const_value.dtype), ir.Shape(np.shape(array))
        model.graph.register_initializer(value)
    for index, node in enumerate(model.graph):
        node.name = f"{node.op_type}_{index}"
    return model


def test_a_shared_weight_is_cut_alike(graph: Graph, dependencies_of: Find) -> None:
    model = graph(
        "(float[N, 3] x, float[N, 3] z) => (float[N, 2] y)",
        "a = MatMul(x, w) b = MatMul(z, w) m = Mul(a, b) y = MatMul(m, v)",
        w=ones(3, 4),
        v=ones(4, 2),
    )
    assert open_units(dependencies_of(model)) == {"MatMul_0": 4}


def test_an_initializer_that_callers_may_set_stays(graph: Graph, dependencies_of: Find) -> None:
    model = graph(
        "(float[N, 3] x, float[3, 4] w) => (float[N, 2] y)",
        "a = MatMul(x, w) y = MatMul(a, v)",
        w=ones(3, 4),
        v=ones(4, 2),
    )
    assert open_units(dependencies_of(model)) == {}


def test_what_a_subgraph_uses_stays(dependencies_of: Find) -> None:
    model = ir.from_onnx_text(
        """
        <ir_version: 9, opset_import: ["" : 18]>
        g (float[N, 4] x, bool c) => (float[N, 4] y)
        <float[4, 4] w = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}> {
            a = MatMul(x, w)
            y = If (c) <
                then_branch = t () => (float[N, 4] p) { p = Relu(a) },
                else_branch = e () => (float[N, 4] q) { q = Neg(a) }
            >
        }
        """
    )
    for index, node in enumerate(model.graph.all_nodes()):
        node.name = f"{node.op_type}_{index}"
    (group,) = dependencies_of(model).groups
    assert not group.is_open
    assert "subgraph" in str(group.closed_reason)


def test_layers_are_named_after_keras(graph: Graph, dependencies_of: Find) -> None:
    model = graph(
        "(float[N, 3] x) => (float[N, 2] y)",
        "a = MatMul(x, w) b = Relu(a) y = MatMul(b, v)",
        w=ones(3, 4),
        v=ones(4, 2),
    )
    next(iter(model.graph)).metadata_props["kilnx.layer"] = "block/dense"
    found = dependencies_of(model)
    assert [group.layers for group in found.groups] == [("block/dense",), ("MatMul_2",)]


@given(
    count=st.integers(1, 30),
    pairs=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40),
)
def test_connected_components(count: int, pairs: list[tuple[int, int]]) -> None:
    edges = [(a % count, b % count) for a, b in pairs]
    one, other = (np.array([edge[side] for edge in edges], np.int64) for side in (0, 1))
    found = connected_components(count, one, other)
    parent = list(range(count))

    def root(vertex: int) -> int:
        while parent[vertex] != vertex:
            vertex = parent[vertex]
        return vertex

    for a, b in edges:
        parent[max(root(a), root(b))] = min(root(a), root(b))
    roots = [root(vertex) for vertex in range(count)]
    assert [sorted(set(roots)).index(r) for r in roots] == found.tolist()


def test_a_reason_closes_whole_units_and_the_first_one_counts() -> None:
    channels = Channels()
    first, second = channels.make(3, "a"), channels.make(3, "b")
    channels.unify(first, second[::-1])
    channels.close(second[:1], "because")
    channels.close(first[2:], "later")
    found = channels.partition()
    assert found.units == 3
    assert found.closed == {2: "because"}
    assert found.makers == (("a", "b"),)


def test_a_drawn_image_loses_channels_and_no_rows(graph: Graph, dependencies_of: Find) -> None:
    body = "t = Transpose<perm = [0, 3, 1, 2]>(r) y = Conv<pads = [1, 1, 1, 1]>(t, k)"
    model = graph(
        "(float[N, 3] x) => (float[N, 4, 4, 4] y)",
        f"h = MatMul(x, w1) a = Relu(h) r = Reshape(a, to) {body}",
        w1=ones(3, 96),
        to=np.array([-1, 4, 4, 6]),
        k=ones(4, 6, 3, 3),
    )
    assert open_units(dependencies_of(model)) == {"MatMul_0": 6}


@pytest.mark.parametrize(
    ("order", "block"), [([0, 1, 3, 2, 4, 5], [2, 2, 4]), ([0, 1, 4, 2, 5, 3], [4, 2, 2])]
)
def test_pixels_that_are_shuffled_stay(
    graph: Graph, dependencies_of: Find, order: list[int], block: list[int]
) -> None:
    model = graph(
        "(float[N, 3, 6, 6] x) => (float[N, 2, 12, 12] y)",
        f"""
        c = Conv(x, w1) l = Transpose<perm = [0, 2, 3, 1]>(c) s = Reshape(l, blocks)
        t = Transpose<perm = {order}>(s) b = Reshape(t, wide)
        f = Transpose<perm = [0, 3, 1, 2]>(b) y = Conv(f, w2)
        """,
        w1=ones(16, 3, 1, 1),
        w2=ones(2, 4, 1, 1),
        blocks=np.array([-1, 6, 6, *block]),
        wide=np.array([-1, 12, 12, 4]),
    )
    found = dependencies_of(model)
    assert open_units(found) == {"Conv_0": 4}  # each with all of its pixels
