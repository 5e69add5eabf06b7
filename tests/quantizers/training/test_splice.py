"""Splicing: parts of another sample, of all inputs alike, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantizers.training.pool import Augmentation
from quantizers.training.splice import Splice
from runtimes.data.dataset import Dataset
from runtimes.stress.statistics import input_statistics

_COUNT = 64


def spliced(chosen: bool = True, **arrays: Any) -> dict[str, Any]:
    """Each sample with a part of the one before it."""
    splice = Splice(input_statistics(Dataset.open(arrays)))
    assert splice.is_possible
    other = np.roll(np.arange(_COUNT), 1)
    return dict(splice.on(arrays, other, np.full(_COUNT, chosen), np.random.default_rng(0)))


def numbered(*shape: int) -> Any:
    """Every value of a sample is its number."""
    numbers = np.arange(_COUNT, dtype=np.float32).reshape(-1, *[1] * len(shape))
    return np.broadcast_to(numbers, (_COUNT, *shape)).copy()


def test_a_patch_of_an_image_is_of_another_one() -> None:
    images = numbered(12, 10, 3)
    strange = spliced(x=images)["x"] != images
    assert (strange.mean((1, 2, 3)) <= 0.6).all()
    assert strange.any((1, 2, 3)).all()
    for patch in strange[..., 0]:
        rows, columns = patch.any(1), patch.any(0)
        np.testing.assert_array_equal(patch, rows[:, None] & columns[None])
        for line in (rows, columns):  # without a gap
            assert np.count_nonzero(np.diff(line.astype(int))) <= 2
    np.testing.assert_array_equal(strange, np.broadcast_to(strange[..., :1], strange.shape))


def test_tokens_and_their_mask_go_together() -> None:
    tokens = np.random.default_rng(0).integers(0, 500, (_COUNT, 20)).astype(np.int32)
    mask = (np.arange(20) < np.arange(_COUNT)[:, None] % 20).astype(np.float32)
    tokens[mask == 0] = 0
    found = spliced(tokens=tokens, mask=mask)
    assert (found["tokens"] != tokens).any()
    np.testing.assert_array_equal(found["tokens"] * (1 - found["mask"]), 0)


def test_what_is_not_chosen_stays() -> None:
    images = numbered(8, 8, 1)
    np.testing.assert_array_equal(spliced(chosen=False, x=images)["x"], images)


def test_features_have_no_parts() -> None:
    rows = np.random.default_rng(0).standard_normal((_COUNT, 9)).astype(np.float32)
    assert not Splice(input_statistics(Dataset.open({"x": rows}))).is_possible


def test_a_pool_holds_more_texts_than_there_are() -> None:
    tokens = np.random.default_rng(0).integers(0, 500, (_COUNT, 20)).astype(np.int32)
    batches = Augmentation(Dataset.open({"tokens": tokens})).batches(_COUNT)
    found = np.concatenate([batch.feed["tokens"] for batch in batches])
    whole = (found[:, None] == tokens[None]).all(2).any(1)
    assert found.dtype == tokens.dtype
    assert 0.1 < whole.mean() < 0.5
    assert (found == np.concatenate([tokens] * (len(found) // _COUNT))).mean() > 0.7
