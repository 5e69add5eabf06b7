"""k-means in one dimension."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantizers.low_bit.clusters import cluster, nearest_index


def error(values: np.ndarray, centres: np.ndarray) -> float:
    return float(np.square(centres[nearest_index(values, centres)] - values).mean())


def test_sixteen_clusters_beat_sixteen_equal_steps() -> None:
    values = np.random.default_rng(0).normal(size=20_000)
    centres = cluster(values, 16)
    assert np.all(np.diff(centres) > 0)
    # Lloyd and Max: 0.0095 is the optimum for a normal distribution.
    assert error(values, centres) < 0.0098
    steps = np.linspace(values.min(), values.max(), 16)
    assert error(values, centres) < 0.5 * error(values, steps)


def test_few_values_are_found_exactly() -> None:
    values = np.random.default_rng(0).choice([-0.7, 0.0, 0.1, 2.0], size=500)
    np.testing.assert_allclose(cluster(values, 4), [-0.7, 0.0, 0.1, 2.0], atol=1e-12)
    np.testing.assert_allclose(cluster(np.full(7, 3.0), 4)[-1], 3.0)


def test_what_counts_more_is_met_better() -> None:
    values = np.random.default_rng(0).normal(size=20_000)
    importance = np.where(values > 1, 50.0, 1.0)
    weighted, plain = cluster(values, 4, importance), cluster(values, 4)
    assert error(values[values > 1], weighted) < 0.5 * error(values[values > 1], plain)


def test_separate_clusters_are_found() -> None:
    values = np.array([[-3.1, -2.9, 0.0], [0.1, 4.0, -0.1]])
    np.testing.assert_allclose(cluster(values, 3), [-3.0, 0.0, 4.0])
    np.testing.assert_array_equal(nearest_index(values, cluster(values, 3)), [[0, 0, 1], [1, 2, 1]])


@given(st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=60), st.integers(2, 8))
def test_every_value_gets_the_nearest_of_the_centres(values: list[float], clusters: int) -> None:
    array = np.array(values)
    centres = cluster(array, clusters)
    assert centres.shape == (clusters,)
    found = np.abs(array - centres[nearest_index(array, centres)])
    least = np.abs(array[:, None] - centres).min(axis=1)
    np.testing.assert_allclose(found, least, atol=1e-9)
