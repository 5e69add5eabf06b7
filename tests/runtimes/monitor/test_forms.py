"""What features measure: values, pools, and inputs that nobody has seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from runtimes.monitor.binning import Binning
from runtimes.monitor.edges import quantile_edges
from runtimes.monitor.forms import GRID, measure
from runtimes.monitor.layout import Block


def test_image_statistics_are_what_they_are_called() -> None:
    image = np.zeros((2, 8, 8, 1), np.float32)
    image[1, :, 4:] = 1
    found = measure("image", image, 3 + GRID * GRID)[..., 0]
    assert found[0].tolist() == [0] * 19
    brightness, contrast, gradient = found[1, :3]
    assert (brightness, contrast) == (0.5, 0.5)
    assert gradient == pytest.approx(1 / 7)
    assert found[1, 3:].reshape(4, 4).tolist() == [[0, 0, 1, 1]] * 4


def test_noise_raises_gradient_energy_and_keeps_brightness() -> None:
    rng = np.random.default_rng(0)
    clean = np.full((1, 32, 32, 1), 0.5, np.float32)
    noisy = clean + 0.1 * rng.standard_normal(clean.shape).astype(np.float32)
    (one,), (two,) = (measure("image", image, 19)[..., 0] for image in (clean, noisy))
    assert abs(two[0] - one[0]) < 0.02
    assert two[2] > 0.03


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 3, 5, 1), (1, 2, 7, 7, 4), (1, 3, 1, 1)])
def test_odd_images_are_measured_too(shape: tuple[int, ...]) -> None:
    image = np.ones(shape, np.float32)
    assert np.isfinite(measure("image", image, 3 + GRID * GRID)).all()
    assert measure("pixels", image, 1).shape[:2] == (shape[0], 1)


def test_wide_vectors_are_pooled() -> None:
    wide = np.arange(1000, dtype=np.float32)[None].repeat(3, axis=0)
    found = measure("columns", wide, 64)
    assert found.shape == (3, 64, 1)
    assert found[0, 0, 0] == np.arange(15).mean()
    assert found[0, :, 0].tolist() == sorted(found[0, :, 0].tolist())


def test_a_shorter_axis_is_not_finite_where_it_ends() -> None:
    found = measure("columns", np.ones((1, 3), np.float32), 5)
    assert np.isnan(found[0, 3:]).all()


@given(hnp.arrays(np.float64, st.integers(1, 200), elements=st.floats(-1e6, 1e6)))
def test_edges_enclose_all_that_was_seen(values: np.ndarray) -> None:
    edges = quantile_edges(values)
    assert list(edges) == sorted(set(edges))
    assert edges[0] < values.min()
    assert values.max() < edges[-1]
    block = Block("inputs", "x", "columns", ("x",), (edges,))
    shares = Binning(block).shares(values[:, None])
    assert (shares.sum(axis=-1) == 1).all()
    assert shares[:, 0, [0, -1]].sum() == 0


def test_what_occurs_often_has_a_bin_to_itself() -> None:
    values = np.concatenate([np.zeros(500), np.linspace(0.1, 1, 500)])
    block = Block("inputs", "x", "columns", ("x",), (quantile_edges(values),))
    counts = Binning(block).shares(values[:, None]).sum(axis=0)[0]
    assert counts[1] == 500


def test_infinity_and_nan_have_a_bin_of_their_own() -> None:
    block = Block("inputs", "x", "columns", ("x",), ((0.0, 1.0),))
    values = np.array([[np.nan], [np.inf], [-np.inf], [2.0], [-1.0], [0.5]])
    places = Binning(block).shares(values)[:, 0].argmax(axis=-1)
    assert places.tolist() == [3, 3, 3, 2, 0, 1]
    assert block.describe(0, 3) == "not finite"
    assert block.describe(0, 2) == "above 1"
    assert block.describe(0, 1) == "0 to 1"


def test_what_was_never_seen_shares_a_bin() -> None:
    block = Block("inputs", "x", "tokens", ("x",), categories=(1, 5))
    shares = Binning(block).shares(np.array([[1, 5, 7, -1]]))
    assert shares.tolist() == [[[0.25, 0.25, 0.5]]]
    words = Block("inputs", "x", "tokens", ("x",), categories=("a", "b"))
    shares = Binning(words).shares(np.array([["a"], [b"b"], ["c"]], object))
    assert shares[:, 0].argmax(axis=-1).tolist() == [0, 1, 2]
