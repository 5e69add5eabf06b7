"""Perturbations: what they change and leave, and that they hang on nothing but the sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtimes.data.dataset import Dataset
from runtimes.stress.rungs import KINDS, Rung, rungs_for

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 1, (60, 9, 8, 3)).astype(np.float32)
SEQUENCES = RNG.normal(size=(60, 20, 4)).astype(np.float32)
TABLE = (RNG.normal(size=(200, 3)) * [1e-3, 1, 1e3] + [5, 0, 0]).astype(np.float32)
TOKENS = RNG.integers(1, 900, (60, 30))
DATA = {"images": IMAGES, "sequences": SEQUENCES, "table": TABLE, "tokens": TOKENS}


def rungs(array: Any, seed: int = 0) -> dict[str, tuple[Rung, ...]]:
    return rungs_for(Dataset.open({"x": array}), seed=seed)


def under(rung: Rung, array: Any, size: int = 32) -> Any:
    data = Dataset.open({"x": array}).changed(rung.on)
    return np.concatenate([batch.feed["x"] for batch in data.batches(size)])


def harshest(array: Any, kind: str, seed: int = 0) -> Any:
    return under(rungs(array, seed)[kind][-1], array)


ALL = [(name, kind) for name, array in DATA.items() for kind in rungs(array)]


def test_every_kind_of_input_has_its_kinds() -> None:
    found = {name: list(rungs(array)) for name, array in DATA.items()}
    assert found == {
        "images": ["noise", "blur", "contrast", "shift", "gain"],
        "sequences": ["noise", "gain", "dropped steps"],
        "table": ["noise", "gain"],
        "tokens": ["replaced tokens"],
    }


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_it_hangs_on_the_sample_and_not_on_the_batch(name: str, kind: str) -> None:
    whole = Dataset.open({"x": DATA[name]})
    rung = rungs_for(whole)[kind][-1]
    expected = under(rung, DATA[name])
    assert not np.array_equal(expected, DATA[name])
    assert np.array_equal(under(rung, DATA[name], 7), expected)
    for part in whole.split(0.3):
        batches = list(part.changed(rung.on).batches(16))
        places = np.concatenate([batch.indices for batch in batches])
        found = np.concatenate([batch.feed["x"] for batch in batches])
        assert np.array_equal(found, expected[places])


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_values_stay_in_the_range_and_dtype_of_the_data(name: str, kind: str) -> None:
    array = DATA[name]
    found = harshest(array, kind)
    assert found.dtype == array.dtype
    axes = (0, 1) if name in {"sequences", "tokens"} else 0 if name == "table" else None
    assert (found.min(axis=axes) >= array.min(axis=axes)).all()
    assert (found.max(axis=axes) <= array.max(axis=axes)).all()


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_the_data_stay_as_they_are(name: str, kind: str) -> None:
    before = DATA[name].copy()
    harshest(DATA[name], kind)
    assert np.array_equal(before, DATA[name])


@pytest.mark.parametrize(
    ("name", "kind"), [one for one in ALL if one[1] not in {"blur", "contrast"}]
)
def test_another_seed_is_another_perturbation(name: str, kind: str) -> None:
    one, other = (harshest(DATA[name], kind, seed) for seed in (0, 1))
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(("name", "kind"), [one for one in ALL if one[1] != "shift"])
def test_rungs_go_from_mild_to_harsh(name: str, kind: str) -> None:
    array = DATA[name]
    scale = 1 if name == "tokens" else array.std(axis=0)
    apart = [
        np.mean(
            (under(rung, array) != array)
            if name == "tokens"
            else np.abs(under(rung, array) - array) / scale
        )
        for rung in rungs(array)[kind]
    ]
    assert apart == sorted(apart)
    assert len(set(apart)) == 3


def test_features_of_any_scale_each_get_their_own_noise() -> None:
    added = (under(rungs(TABLE)["noise"][0], TABLE) - TABLE).std(axis=0)
    assert np.allclose(added / TABLE.std(axis=0), 0.1, rtol=0.15)


def test_contrast_keeps_the_mean_and_lessens_what_departs_from_it() -> None:
    found = under(rungs(IMAGES)["contrast"][1], IMAGES)
    assert np.allclose(found.mean(axis=(1, 2, 3)), IMAGES.mean(axis=(1, 2, 3)), atol=1e-5)
    assert np.allclose(found.std(axis=(1, 2, 3)), 0.7 * IMAGES.std(axis=(1, 2, 3)), rtol=1e-4)


def test_a_shift_moves_whole_pixels_and_the_edge_fills_the_gap() -> None:
    found = under(rungs(IMAGES)["shift"][0], IMAGES)
    padded = np.pad(IMAGES, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    moves = [(a, b) for a in range(3) for b in range(3) if (a, b) != (1, 1)]
    seen = set()
    for image, expected in zip(found, padded, strict=True):
        fits = [
            move
            for move in moves
            if np.array_equal(image, expected[move[0] : move[0] + 9, move[1] : move[1] + 8])
        ]
        assert len(fits) == 1
        seen.update(fits)
    assert seen == set(moves)


@pytest.mark.parametrize("kind", ["blur", "shift"])
def test_channels_first_are_seen_by_their_number(kind: str) -> None:
    first = np.ascontiguousarray(np.moveaxis(IMAGES, -1, 1))
    assert np.array_equal(harshest(first, kind), np.moveaxis(harshest(IMAGES, kind), -1, 1))


def test_blur_leaves_what_is_flat() -> None:
    flat = np.repeat(RNG.uniform(0, 1, (60, 1, 1, 1)), 64, axis=1).reshape(60, 8, 8, 1)
    flat = flat.astype(np.float32)
    assert np.allclose(harshest(flat, "blur"), flat, atol=1e-6)


def test_whole_numbers_stay_whole() -> None:
    pixels = RNG.integers(0, 256, (30, 8, 8, 1)).astype(np.float32)
    for kind in rungs(pixels):
        found = harshest(pixels, kind)
        assert np.array_equal(found, np.rint(found))
        assert not np.array_equal(found, pixels)


def test_dropped_steps_repeat_the_step_before() -> None:
    found = harshest(SEQUENCES, "dropped steps")
    changed = (found != SEQUENCES).any(axis=2)
    assert 0.05 < changed.mean() < 0.15
    assert not changed[:, 0].any()
    rows, steps = np.nonzero(changed)
    assert np.array_equal(found[rows, steps], found[rows, steps - 1])


def test_a_share_of_the_tokens_is_replaced_by_others_that_were_seen() -> None:
    found = harshest(TOKENS, "replaced tokens")
    assert 0.08 < (found != TOKENS).mean() < 0.12
    assert np.isin(found, TOKENS).all()


def test_padding_and_what_opens_every_text_stay() -> None:
    texts = TOKENS.copy()
    texts[:, 0] = 101
    for row, length in enumerate(RNG.integers(5, 28, len(texts))):
        texts[row, length:] = 0
    found = harshest(texts, "replaced tokens")
    assert np.array_equal(found == 0, texts == 0)
    assert (found[:, 0] == 101).all()
    assert (found != texts).any()


@pytest.mark.parametrize("mask", [0.0, -4_200_000.0])
@pytest.mark.parametrize("kind", ["noise", "gain", "dropped steps"])
def test_masked_steps_stay_and_do_not_count_as_values(mask: float, kind: str) -> None:
    masked = SEQUENCES.copy()
    masked[:, 12:] = mask
    masked[:20, 5] = mask
    found = harshest(masked, kind)
    still = (masked == mask).all(axis=2)
    assert np.array_equal(found[still], masked[still])
    assert 0 < np.abs(found[~still] - masked[~still]).max() < 10


@pytest.mark.parametrize(
    "array",
    [
        RNG.integers(0, 2, (50, 8)).astype(np.float32),  # one-hot, masks
        RNG.integers(0, 12, (50, 6, 6, 1)).astype(np.float32),  # codes
        RNG.integers(0, 3, (50, 8)),  # segments
        RNG.integers(0, 2, (50, 8)).astype(bool),
        RNG.normal(size=50).astype(np.float32),  # one number a sample: a length, a threshold
        np.array([["a", "b"]] * 50),
    ],
    ids=["binary", "codes", "segments", "truth", "scalars", "strings"],
)
def test_what_has_nothing_between_its_values_has_no_rungs(array: Any) -> None:
    assert rungs(array) == {}


def test_one_hot_columns_of_a_table_stay() -> None:
    table = np.concatenate([TABLE, RNG.integers(0, 2, (200, 4))], axis=1).astype(np.float32)
    found = harshest(table, "noise")
    assert np.array_equal(found[:, 3:], table[:, 3:])
    assert (found[:, :3] != table[:, :3]).mean() > 0.9


def test_integers_that_index_nothing_stay() -> None:
    data = Dataset.open({"x": TOKENS})
    assert rungs_for(data, looked_up=()) == {}
    assert list(rungs_for(data, looked_up=("x",))) == ["replaced tokens"]


def test_floats_that_index_a_table_are_replaced_as_tokens() -> None:
    data = Dataset.open({"x": TOKENS.astype(np.float32)})
    assert list(rungs_for(data, looked_up=("x",))) == ["replaced tokens"]


def test_every_input_gets_what_suits_it() -> None:
    mask = RNG.integers(0, 2, (60, 20)).astype(np.float32)
    data = Dataset.open({"image": IMAGES, "text": TOKENS, "mask": mask})
    rung = rungs_for(data)["noise"][0]
    batch = next(iter(data.batches(60)))
    found = rung.on(batch).feed
    assert not np.array_equal(found["image"], IMAGES)
    assert found["text"] is batch.feed["text"]
    assert np.array_equal(found["mask"], mask)


def test_samples_of_many_lengths() -> None:
    samples = [RNG.normal(size=(1, n, 2)).astype(np.float32) for n in (3, 5, 4) * 20]
    data = Dataset.open([{"x": one} for one in samples])
    for kind, (*_, rung) in rungs_for(data).items():
        found = {
            int(index): array
            for batch in data.changed(rung.on).batches(4)
            for index, array in zip(batch.indices, batch.feed["x"], strict=True)
        }
        assert [found[n].shape for n in range(60)] == [one.shape[1:] for one in samples], kind


def test_labels_are_those_of_the_clean_samples() -> None:
    labels = RNG.integers(0, 9, 60)
    data = Dataset.open({"x": IMAGES, "labels": labels})
    changed = data.changed(rungs_for(data)["noise"][0].on)
    assert np.array_equal(changed.all_labels(""), labels)
    for view in (changed.split(0.5)[0], changed.take(20), changed.without_labels()):
        batch = next(iter(view.batches(8)))
        assert not np.array_equal(batch.feed["x"], IMAGES[batch.indices])


def test_names_and_equality() -> None:
    one, other = rungs(IMAGES), rungs(IMAGES, seed=1)
    assert [rung.name for rung in one["noise"]] == ["noise 0.1", "noise 0.25", "noise 0.5"]
    assert one["noise"][0] == rungs(IMAGES)["noise"][0]
    assert one["noise"][0] != other["noise"][0]
    assert len({kind.name for kind in KINDS}) == len(KINDS)
