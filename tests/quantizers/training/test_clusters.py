"""k-means in one dimension."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantizers.training.clusters import cluster, nearest


def test_separate_clusters_are_found() -> None:
    values = np.array([[-3.1, -2.9, 0.0], [0.1, 4.0, -0.1]])
    np.testing.assert_allclose(cluster(values, 3), [-3.0, 0.0, 4.0])
    np.testing.assert_array_equal(nearest(values, cluster(values, 3)), [[0, 0, 1], [1, 2, 1]])


@given(st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=60), st.integers(2, 8))
def test_every_value_gets_the_nearest_of_the_centres(values: list[float], clusters: int) -> None:
    array = np.array(values)
    centres = cluster(array, clusters)
    assert centres.shape == (clusters,)
    found = np.abs(array - centres[nearest(array, centres)])
    least = np.abs(array[:, None] - centres).min(axis=1)
    np.testing.assert_allclose(found, least, atol=1e-9)
