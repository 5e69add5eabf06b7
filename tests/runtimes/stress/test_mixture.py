"""Some samples stay as they are, each other one gets one perturbation, by its index alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from runtimes.data.batches import Batch
from runtimes.data.dataset import Dataset
from runtimes.stress.mixture import Mixture


@dataclass(frozen=True)
class Adds:
    """Adds a number to every value."""

    number: float

    def on(self, batch: Batch) -> Batch:
        return replace(batch, feed={name: a + self.number for name, a in batch.feed.items()})


def all_of(mixture: Mixture, size: int, data: Dataset) -> np.ndarray:
    batches = list(data.changed(mixture.on).batches(size))
    return np.concatenate([batch.feed["x"] for batch in batches])


def opened(count: int = 400) -> Dataset:
    return Dataset.open({"x": np.zeros((count, 3), np.float32)})


def test_every_sample_gets_one_or_none() -> None:
    data = opened()
    found = all_of(Mixture([Adds(1), Adds(2)], 0.5), 32, data)
    assert found.shape == (400, 3)
    assert (found == found[:, :1]).all()
    shares = [float((found[:, 0] == number).mean()) for number in (0, 1, 2)]
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.25], atol=0.08)


def test_batches_and_parts_change_nothing() -> None:
    data = opened(100)
    mixture = Mixture([Adds(1), Adds(2)], seed=3)
    whole = all_of(mixture, 100, data)
    np.testing.assert_array_equal(all_of(mixture, 7, data), whole)
    (_, part), *_ = data.folds(2)
    places = np.concatenate([batch.indices for batch in part.batches(100)])
    np.testing.assert_array_equal(all_of(mixture, 9, part), whole[places])
    assert (whole > 0).all()


def test_the_data_stay_as_they_are() -> None:
    array = np.zeros((20, 3), np.float32)
    list(Dataset.open({"x": array}).changed(Mixture([Adds(1)]).on).batches(20))
    assert not array.any()
