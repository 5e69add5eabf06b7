"""Noise that suits the data: where, how strong, and the same every time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtimes.data.dataset import Dataset
from runtimes.stress.noise import SHARE, STRENGTH, measure_noise

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 1, (400, 6, 6, 2)).astype(np.float32)


def all_of(data: Any, size: int = 32, name: str = "x") -> Any:
    return np.concatenate([batch.feed[name] for batch in data.batches(size)])


def noisy(data: Any, seed: int = 0) -> Dataset:
    opened = Dataset.open(data)
    return opened.changed(measure_noise(opened, seed).on)


def test_a_share_of_the_samples_gets_as_much_as_the_data_vary() -> None:
    added = all_of(noisy({"x": IMAGES})) - IMAGES
    touched = np.abs(added).max(axis=(1, 2, 3)) > 0
    assert touched.mean() == pytest.approx(SHARE, abs=0.08)
    inner = (IMAGES[touched] > 0.3) & (IMAGES[touched] < 0.7)  # far from where it is clipped
    assert added[touched][inner].std() == pytest.approx(STRENGTH * IMAGES.std(), rel=0.05)


def test_it_stays_in_the_range_of_the_data() -> None:
    found = all_of(noisy({"x": IMAGES}))
    assert found.min() >= IMAGES.min()
    assert found.max() <= IMAGES.max()
    assert found.dtype == np.float32


def test_it_hangs_on_the_sample_and_not_on_where_it_stands() -> None:
    whole = Dataset.open({"x": IMAGES})
    noise = measure_noise(whole)
    expected = all_of(whole.changed(noise.on))
    assert np.array_equal(all_of(whole.changed(noise.on), size=7), expected)
    for others, part in whole.folds(4):
        for data in (others, part):
            places = np.concatenate([batch.indices for batch in data.batches(50)])
            assert np.array_equal(all_of(data.changed(noise.on)), expected[places])


def test_another_seed_is_other_noise() -> None:
    one, other = (all_of(noisy({"x": IMAGES}, seed)) for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_the_data_stay_as_they_are() -> None:
    before = IMAGES.copy()
    all_of(noisy({"x": IMAGES}))
    assert np.array_equal(before, IMAGES)


def test_features_of_any_scale_each_get_their_own() -> None:
    table = RNG.normal(size=(2000, 3)) * np.array([1e-3, 1.0, 1e3]) + np.array([5.0, 0.0, 0.0])
    table = table.astype(np.float32)
    added = all_of(noisy({"x": table})) - table
    added = added[np.abs(added).max(axis=1) > 0]
    assert np.allclose(added.std(axis=0) / table.std(axis=0), STRENGTH, rtol=0.15)


@pytest.mark.parametrize(
    "array",
    [
        RNG.integers(0, 2, (50, 8)).astype(np.float32),  # one-hot, masks
        RNG.integers(0, 9999, (50, 8)),  # tokens
        RNG.integers(0, 12, (50, 8)).astype(np.float32),  # codes
    ],
    ids=["binary", "integers", "codes"],
)
def test_what_has_nothing_between_its_values_stays(array: Any) -> None:
    assert np.array_equal(all_of(noisy({"x": array})), array)


def test_samples_of_many_lengths() -> None:
    samples = [RNG.normal(size=(1, n, 2)).astype(np.float32) for n in (3, 5, 4) * 20]
    data = Dataset.open([{"x": one} for one in samples])
    noise = measure_noise(data)
    found = {
        int(index): array
        for batch in data.changed(noise.on).batches(4)
        for index, array in zip(batch.indices, batch.feed["x"], strict=True)
    }
    assert [found[n].shape for n in range(60)] == [one.shape[1:] for one in samples]
    assert any(not np.array_equal(found[n], samples[n][0]) for n in range(60))
