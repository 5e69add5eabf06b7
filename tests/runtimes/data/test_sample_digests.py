"""Digests of samples: the same samples are known again, however they come; others are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtimes import DataError, Dataset, TensorSpec
from runtimes.data import sample_digests
from runtimes.data.sample_digests import SampleDigests, digests_of, shared_samples

pytestmark = pytest.mark.fast

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
INPUTS = (TensorSpec("x", np.dtype(np.float32), ("n", 3)),)


def test_shared_samples_are_found_in_any_order_and_form(tmp_path: Path) -> None:
    known = digests_of(Dataset.open(X[:25]).bind(INPUTS))
    assert (known.samples, len(known.digests), known.complete) == (25, 25, True)
    np.savez(tmp_path / "d.npz", image=X[::-1].astype(np.float64), labels=np.arange(40))
    data = Dataset.open(tmp_path / "d.npz", inputs=INPUTS)
    assert shared_samples(data, known).tolist() == list(range(15, 40))
    left = data.without(shared_samples(data, known))
    assert left.num_samples == 15
    assert not len(shared_samples(left, known))
    np.testing.assert_array_equal(next(left.batches(15)).feed["x"], X[:24:-1])
    assert not len(shared_samples(Dataset.open(X[25:]).bind(INPUTS), known))


def test_several_inputs_text_and_sizes_count() -> None:
    names = np.array(["a", "b", "a"])
    known = digests_of(Dataset.open({"x": X[:3], "name": names}))
    other = Dataset.open({"x": X[[0, 0, 2]], "name": np.array(["a", "b", "a"])})
    assert shared_samples(other, known).tolist() == [0, 2]
    objects = np.array(["a", "longer", "b"], object)
    assert shared_samples(Dataset.open({"x": X[:3], "name": objects}), known).tolist() == [0]
    again = Dataset.open({"x": X[:3], "name": np.array(["a", "longer", "b"])})
    assert (
        digests_of(again).digests == digests_of(Dataset.open({"x": X[:3], "name": objects})).digests
    )
    wider = Dataset.open({"x": X[:3].reshape(3, 3, 1), "name": names})
    assert not len(shared_samples(wider, known))


def test_what_is_left_may_not_be_nothing() -> None:
    data = Dataset.open(X)
    with pytest.raises(DataError, match="no sample"):
        data.without(shared_samples(data, digests_of(data)))


def test_of_many_samples_some_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_digests, "_MOST", 10)
    known = digests_of(Dataset.open(X))
    assert (len(known.digests), known.complete) == (10, False)
    assert len(shared_samples(Dataset.open(X), known)) == 10
    assert known.digests == digests_of(Dataset.open(X[::-1])).digests


def test_they_are_written_and_read() -> None:
    known = digests_of(Dataset.open(X))
    assert SampleDigests.from_dict(known.to_dict()) == known
    for broken in ({}, {"name": "x", "samples": 1, "digests": "?"}, {"digests": 5}):
        with pytest.raises(ValueError, match="no digests"):
            SampleDigests.from_dict(broken)
