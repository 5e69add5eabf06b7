"""Warped images: what stays, which axes are the pixels', and that nothing comes from nowhere."""

from __future__ import annotations

import numpy as np
import pytest

from quantizers.training.pool import Augmentation
from quantizers.training.warp import Warp
from runtimes.data.dataset import Dataset

STILL = Warp(0.0, 0.0, 0.0, 0.0)


def images(shape: tuple[int, ...] = (5, 8, 6, 2)) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


def test_no_warp_changes_nothing() -> None:
    found = STILL.on(images(), (0, 1), np.random.default_rng(1))
    np.testing.assert_allclose(found, images(), rtol=1e-6)
    assert found.dtype == np.float32


def test_channels_may_be_first_or_last() -> None:
    last = Warp().on(images(), (0, 1), np.random.default_rng(1))
    first = Warp().on(images().transpose(0, 3, 1, 2), (1, 2), np.random.default_rng(1))
    np.testing.assert_array_equal(first.transpose(0, 2, 3, 1), last)


def test_every_image_goes_its_own_way_inside_its_range() -> None:
    same = np.repeat(images((1, 8, 6, 2)), 5, axis=0)
    found = Warp().on(same, (0, 1), np.random.default_rng(1))
    assert len(np.unique(found.reshape(5, -1), axis=0)) == 5
    assert found.min() >= same.min()
    assert found.max() <= same.max()


def test_a_quarter_turn_turns() -> None:
    """A bright left edge becomes a bright edge above or below."""
    bright = np.zeros((1, 9, 9, 1), np.float32)
    bright[:, :, 0] = 1.0
    quarter = Warp(turn=np.pi / 2, shear=0.0, zoom=0.0, move=0.0)

    class Most(np.random.Generator):
        def uniform(self, low: float, high: float, size: tuple[int, ...]) -> np.ndarray:
            return np.full(size, high)

    found = quarter.on(bright, (0, 1), Most(np.random.PCG64(0)))[0, :, :, 0]
    edges = found[0].mean(), found[-1].mean()
    assert max(edges) == pytest.approx(1.0)
    assert min(edges) == pytest.approx(0.0, abs=1e-6)
    assert found.mean() == pytest.approx(1 / 9)


def test_a_pixel_between_two_is_between_them() -> None:
    ramp = np.broadcast_to(np.arange(8, dtype=np.float32)[:, None], (3, 8, 8, 1)[1:3])
    pixels = np.repeat(ramp[None, :, :, None], 3, axis=0)
    moved = Warp(0.0, 0.0, 0.0, move=0.2).on(pixels, (0, 1), np.random.default_rng(1))
    inner = np.diff(moved[:, 3:5, :, 0], axis=1)
    np.testing.assert_allclose(inner, 1.0, rtol=1e-4)
    assert not np.allclose(moved[:, 3], np.rint(moved[:, 3]))


@pytest.mark.parametrize("whole", [False, True])
def test_only_images_are_warped_and_whole_numbers_stay_whole(whole: bool) -> None:
    random = np.random.default_rng(0)
    x = random.integers(0, 255, (64, 8, 8, 1)).astype(np.float32) / (1 if whole else 255)
    features = random.standard_normal((64, 5)).astype(np.float32)
    data = Dataset.open({"x": x, "f": features})
    batches = list(Augmentation(data, seed=3).batches(1000))
    seen = np.concatenate([batch.feed["x"] for batch in batches])
    assert not np.isin(seen.round(6), x.round(6)).all()
    assert seen.min() >= x.min() - 1e-5 * x.max()
    assert seen.max() <= x.max() * (1 + 1e-5)
    warped = [Augmentation(data, seed=3)._warp(batch, random) for batch in data.batches(64)]
    for batch in warped:
        np.testing.assert_array_equal(batch.feed["f"], features)
        assert bool((batch.feed["x"] == np.rint(batch.feed["x"])).all()) is whole
