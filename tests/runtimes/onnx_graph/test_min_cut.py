from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from runtimes.onnx_graph.min_cut import INFINITE, Network

EDGES = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 9)), min_size=1, max_size=14
)


@settings(max_examples=200, deadline=None)
@given(EDGES)
def test_no_assignment_is_cheaper(edges):
    network = Network(0, 5)
    for tail, head, capacity in edges:
        network.add(tail, head, capacity)
    cost, side = network.cut()

    def price(chosen):
        return sum(c for t, h, c in edges if t in chosen and h not in chosen)

    best = min(
        price({0} | {vertex for vertex, inside in zip(range(1, 5), bits, strict=True) if inside})
        for bits in product([False, True], repeat=4)
    )
    assert cost == best
    assert 0 in side
    assert 5 not in side
    assert price(side) == best


def test_an_edge_that_cannot_be_cut_is_not_cut():
    network = Network("s", "t")
    network.add("s", "a", 5)
    network.add("a", "b", INFINITE)
    network.add("b", "t", 7)
    assert network.cut() == (5, {"s"})


def test_among_equal_cuts_the_one_that_changes_least():
    network = Network("s", "t")
    for tail, head in (("s", "a"), ("a", "b"), ("b", "t")):
        network.add(tail, head, 1)
    assert network.cut() == (1, {"s"})
