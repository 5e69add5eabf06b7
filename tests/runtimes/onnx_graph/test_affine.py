from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.onnx_graph.affine import IDENTITY, Affine, affine_of
from runtimes.onnx_graph.rewrite import Refused

NUMBERS = st.lists(st.floats(-9, 9), min_size=3, max_size=3).map(np.array)
MAPS = st.builds(lambda s, o: Affine(s, o, -1, 1), NUMBERS, NUMBERS)


def apply(affine, x):
    return affine.scale * x + affine.offset


@given(MAPS, MAPS, NUMBERS)
def test_maps_compose(first, second, x):
    both = apply(first.then(second), x)
    np.testing.assert_allclose(both, apply(second, apply(first, x)), atol=1e-9)
    np.testing.assert_allclose(apply(IDENTITY.then(first), x), apply(first, x))


def read(graph, expression, k):
    model = graph("(float[N, 3, 4] x) => (float[A, B, C] y)", f"y = {expression}", k=k)
    return affine_of(model.graph[0])


K = np.array([1, 2, 4], np.float32).reshape(3, 1)
CASES = {
    "Mul(x, k)": ([1, 2, 4], 0),
    "Mul(k, x)": ([1, 2, 4], 0),
    "Div(x, k)": ([1, 0.5, 0.25], 0),
    "Add(k, x)": (1, [1, 2, 4]),
    "Sub(x, k)": (1, [-1, -2, -4]),
    "Sub(k, x)": (-1, [1, 2, 4]),
}


@pytest.mark.parametrize("expression", CASES)
def test_each_form_is_read(graph, expression):
    scale, offset = CASES[expression]
    source, affine = read(graph, expression, K)
    assert source.name == "x"
    assert (affine.axis, affine.channels, affine.constant_rank) == (-2, 3, 2)
    np.testing.assert_array_equal(affine.scale, scale)
    np.testing.assert_array_equal(affine.offset, offset)


def test_a_single_number_has_no_axis(graph):
    _, affine = read(graph, "Mul(x, k)", np.full((1, 1), 3, np.float32))
    assert affine.axis is None
    assert affine.channels is None


@pytest.mark.parametrize("expression", ["Div(k, x)", "Pow(x, k)", "Max(x, k)"])
def test_other_forms_are_not_affine(graph, expression):
    assert read(graph, expression, K) is None


def test_two_variable_operands_are_not_affine(graph):
    model = graph("(float[N] x) => (float[N] y)", "y = Mul(x, x)")
    assert affine_of(model.graph[0]) is None


@pytest.mark.parametrize(
    ("k", "reason"),
    [
        (np.ones((3, 4), np.float32), "one number per channel"),
        (np.full(4, np.inf, np.float32), "NaN or infinity"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(graph, k, reason):
    with pytest.raises(Refused, match=reason):
        read(graph, "Mul(x, k)", k)


def batch_normalization(graph, variance, epsilon):
    one = np.ones(3, np.float32)
    model = graph(
        "(float[N, 3, 4] x) => (float[N, 3, 4] y)",
        f"y = BatchNormalization<epsilon = {epsilon}>(x, g, b, m, v)",
        g=one,
        b=one * 2,
        m=one * 3,
        v=np.array(variance, np.float32),
    )
    return affine_of(model.graph[0])


def test_batch_normalization_is_computed_in_double(graph):
    _, affine = batch_normalization(graph, [0, 1, 1e-20], 0.001)
    epsilon = np.float64(np.float32(0.001))
    np.testing.assert_allclose(affine.scale[0], 1 / np.sqrt(epsilon), rtol=1e-12)
    np.testing.assert_allclose(affine.offset, 2 - 3 * affine.scale)
    assert affine.axis == -2


@pytest.mark.parametrize("variance", [[0, 1, 1], [-1, 1, 1], [np.nan, 1, 1]])
def test_a_variance_without_a_root_is_refused(graph, variance):
    with pytest.raises(Refused, match="not positive"):
        batch_normalization(graph, variance, 0.0)
