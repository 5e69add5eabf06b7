import numpy as np
import pytest

from converter.passes.deduplication.near_duplicates import merge_near

W = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
BODY = "a = MatMul(x, w1) b = MatMul(a, w2) y = MatMul(b, w3)"


def chain(graph, w2, w3):
    return graph("(float[N, 64] x) => (float[N, 64] y)", BODY, w1=W, w2=w2, w3=w3)


def test_what_is_within_the_tolerance_is_one(graph, run, random_feed):
    largest = np.abs(W).max()
    near, far = W.copy(), W.copy()
    near[3, 4] += 0.9e-4 * largest
    far[3, 4] += 1.1e-4 * largest
    model = chain(graph, near, far)
    feed = random_feed(model)
    (expected,) = run(model, feed)
    assert merge_near(model, 1e-4)
    assert set(model.graph.initializers) == {"w1", "w3"}
    (found,) = run(model, feed)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-2 * np.abs(expected).max())


def test_differences_do_not_add_up(graph):
    step = np.float32(0.8e-4 * np.abs(W).max())
    (merge,) = merge_near(chain(graph, W + step, W + 2 * step), 1e-4)
    assert merge.replaced == ("w2",)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_are_near_nothing(graph, bad):
    w2, w3 = W.copy(), W.copy()
    w2[0, 0] = w3[0, 0] = bad
    assert not merge_near(chain(graph, w2, w3), 1e-3)


def test_integers_and_other_shapes_stay(graph):
    model = graph(
        "(float[N, 64] x) => (float[N, 64] y)",
        "a = Add(x, v) b = Add(a, w) y = Expand(b, s)",
        v=W[0],
        w=W[:1],
        s=np.array([1, 64]),
    )
    assert not merge_near(model, 1.0)


def test_a_tolerance_that_is_none_is_refused(graph):
    with pytest.raises(ValueError, match="tolerance"):
        merge_near(chain(graph, W, W), float("nan"))
