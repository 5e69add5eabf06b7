from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.onnx_graph.axis_order import AxisOrder, node_for, order_of


@st.composite
def orders(draw, rank=None):
    """Any order: some axes of the other form moved, some of size one left out or added."""
    rank = draw(st.integers(1, 4)) if rank is None else rank
    kept = draw(st.permutations(range(rank)))[: draw(st.integers(0, rank))]
    places = list(kept)
    for _ in range(draw(st.integers(0, 2))):
        places.insert(draw(st.integers(0, len(places))), None)
    return AxisOrder(tuple(places), rank)


def pair(order):
    """Shapes of v and s: axes that only one of them has are of size one."""
    sizes = [place + 2 if place in order.places else 1 for place in range(order.rank)]
    return [1 if p is None else sizes[p] for p in order.places], sizes


def of(order, s):
    """v, computed from s by numpy."""
    shown = [p for p in order.places if p is not None]
    hidden = [axis for axis in range(order.rank) if axis not in shown]
    return s.transpose(*shown, *hidden).reshape(pair(order)[0])


@given(orders())
def test_an_array_goes_there_and_back(order):
    shape, sizes = pair(order)
    s = np.arange(np.prod(sizes)).reshape(sizes)
    v = of(order, s)
    np.testing.assert_array_equal(order.reordered(v), s)
    np.testing.assert_array_equal(order.inverse().reordered(s), v)
    assert order.shape(ir.Shape(shape)) == sizes
    assert order.inverse().shape(ir.Shape(sizes)) == shape


@given(st.data())
def test_orders_compose(data):
    first = data.draw(orders())
    second = data.draw(orders(rank=len(first.places)))
    shape, _ = pair(first)
    # An axis that the second one hides must have size one.
    if any(shape[a] != 1 for a in range(len(shape)) if a not in second.places):
        return
    both = second.after(first)
    assert both.rank == first.rank
    for place, mine in zip(both.places, second.places, strict=True):
        assert place == (None if mine is None else first.places[mine])


@given(orders(), st.data())
def test_axes_can_go(order, data):
    shown = [axis for axis, place in enumerate(order.places) if place is not None]
    axes = data.draw(st.lists(st.sampled_from(shown), unique=True)) if shown else []
    left = order.without(axes)
    assert len(left.places) == len(order.places) - len(axes)
    assert left.rank == order.rank - len(axes)
    hidden = [axis for axis, place in enumerate(order.places) if place is None]
    if hidden:
        assert order.without(hidden) is None
        assert order.axes(hidden) is None


NODES = [
    ("Transpose<perm = [2, 0, 1]>(x)", AxisOrder((2, 0, 1), 3)),
    ("Transpose(x)", AxisOrder((2, 1, 0), 3)),
    ("Squeeze(x, k)", AxisOrder((0, 1), 3)),
    ("Unsqueeze(x, k)", AxisOrder((0, 1, 2, None), 3)),
]


@pytest.mark.parametrize(("expression", "expected"), NODES)
def test_nodes_are_read_and_written(graph, expression, expected):
    arrays = {"k": np.array([-1])} if "k" in expression else {}
    dims = ", ".join("ABCD"[: len(expected.places)])
    model = graph(f"(float[2, 3, 1] x) => (float[{dims}] y)", f"y = {expression}", **arrays)
    node = model.graph[0]
    assert order_of(node) == expected
    assert node_for(expected)[0] == node.op_type
    assert node_for(expected)[1] in (expected.places, (2,), (3,))


def test_what_is_not_known_has_no_order(graph):
    model = graph("(float[?] x, int64[1] k) => (float[?] y)", "t = Squeeze(x, k) y = Relu(t)")
    model.graph.inputs[0].shape = None
    assert [order_of(node) for node in model.graph] == [None, None]
    assert order_of(ir.node("Transpose", [ir.val("x", ir.DataType.FLOAT)])) is None


def test_constants_broadcast_alike():
    order = AxisOrder((0, 2, 1), 3)
    assert order.array(np.ones((4, 5))).shape == (1, 5, 4)
    assert order.array(np.ones((1, 1))).shape == (1, 1)
    lacking = AxisOrder((None, 0, 1), 2)
    assert lacking.array(np.ones((2, 4, 5))) is None
    assert lacking.array(np.ones((1, 1, 1))).shape == ()
    assert lacking.array(np.ones((1, 4, 5))).shape == (4, 5)
