"""Samples that a model is proven on: indices in their range, and masks that mask something."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converter.export.proof.input_uses import InputUse, input_uses
from converter.export.proof.random_samples import sample_feeds
from runtimes.base import TensorSpec
from runtimes.keras_models.signature import keras_signature


def feed_of(model: Any, batch: int = 3) -> dict[str, Any]:
    return next(iter(sample_feeds(model, keras_signature(model), batch))).feed


def uses_of(model: Any) -> list[InputUse]:
    return input_uses(model, keras_signature(model).inputs)


def test_each_input_is_drawn_below_its_own_vocabulary(keras: Any) -> None:
    layers = keras.layers
    words, place = (
        keras.Input((40,), dtype="int32", name="w"),
        keras.Input((20,), name="p", dtype="int32"),
    )
    merged = layers.Concatenate(axis=1)(
        [layers.Embedding(1000, 4)(words), layers.Embedding(3, 4)(place)]
    )
    model = keras.Model([words, place], merged)
    assert uses_of(model) == [InputUse(1000), InputUse(3)]
    feed = feed_of(model)
    assert feed["w"].max() > 100
    assert feed["w"].max() < 1000
    assert set(np.unique(feed["p"])) == {0, 1, 2}


@pytest.mark.parametrize(
    ("shape", "tried"),
    [
        ((None, 8, 9, 2), (16, 8, 9, 2)),  # frames
        ((None, None, 9, 2), (64, 96, 9, 2)),
        ((8, None, None, 2), (8, 96, 128, 2)),
        ((None, 9, 2), (64, 9, 2)),  # one image of any height
    ],
)
def test_a_free_number_of_images_is_a_length(
    keras: Any, shape: tuple[int | None, ...], tried: tuple[int, ...]
) -> None:
    inputs = keras.Input(shape, name="x")
    model = keras.Model(inputs, keras.layers.Rescaling(2.0)(inputs))
    assert feed_of(model)["x"].shape == (3, *tried)


def test_samples_of_many_free_dimensions_stay_small(keras: Any) -> None:
    inputs = keras.Input((None, None, None, 48), name="x")
    model = keras.Model(inputs, keras.layers.Rescaling(2.0)(inputs))
    sizes = [sample.feed["x"].size for sample in sample_feeds(model, keras_signature(model), 2)]
    assert len(sizes) > 1
    assert max(sizes) <= 2**24
    inputs = keras.Input((None, 1000, 1000, 5), name="x")
    model = keras.Model(inputs, keras.layers.Rescaling(2.0)(inputs))
    assert feed_of(model, batch=1)["x"].shape == (1, 2, 1000, 1000, 5)


def test_the_smallest_of_two_that_read_one_input(keras: Any) -> None:
    ids = keras.Input((8,), dtype="int32")
    embedded = [keras.layers.Embedding(size, 4)(ids) for size in (50, 20)]
    assert uses_of(keras.Model(ids, embedded)) == [InputUse(20)]


def test_through_nested_models_and_what_keeps_integers(keras: Any) -> None:
    layers = keras.layers
    inner_input = keras.Input((6,), dtype="int32")
    inner = keras.Model(inner_input, layers.Embedding(30, 4)(layers.Reshape((2, 3))(inner_input)))
    stack = keras.Sequential([keras.Input((6,), dtype="int32"), layers.Embedding(70, 2)])
    a = keras.Input((6,), dtype="int32", name="a")
    b = keras.Input((6,), dtype="int32", name="b")
    outputs = [inner(layers.Flatten()(a)), stack(keras.ops.flip(b, axis=1))]
    assert uses_of(keras.Model({"b": b, "a": a}, outputs)) == [InputUse(30), InputUse(70)]


def test_floats_that_are_indices(keras: Any) -> None:
    model = keras.Sequential([keras.Input((8,), name="x"), keras.layers.Embedding(30, 4)])
    values = feed_of(model)["x"]
    assert values.dtype == np.float32
    assert np.array_equal(values, np.round(values))
    assert values.min() >= 0
    assert 5 < values.max() < 30


def test_what_an_embedding_gives_is_no_index(keras: Any) -> None:
    tied = keras.layers.ReversibleEmbedding(50, 4)
    states = keras.Input((3, 4))
    assert uses_of(keras.Model(states, tied(states, reverse=True))) == [InputUse()]


@pytest.mark.parametrize("batch", [1, 3])
def test_zeros_before_between_and_after(batch: int, keras: Any) -> None:
    layers = [
        keras.Input((12,), dtype="int32", name="x"),
        keras.layers.Embedding(9, 4, mask_zero=True),
    ]
    values = feed_of(keras.Sequential(layers), batch)["x"]
    assert values.max() < 9
    first = values[0] != 0
    assert not first[0]
    assert not first[-1]
    present = np.flatnonzero(first)
    assert not first[present[0] : present[-1]].all()  # a hole
    if batch == 3:
        ends = np.flatnonzero(values[1] == 0)
        assert np.array_equal(ends, np.arange(12 - len(ends), 12))  # a prefix is left
        assert len(ends) == 3
        assert (values[2] != 0).all()


def test_steps_of_the_value_that_a_masking_layer_hides(keras: Any) -> None:
    model = keras.Sequential([keras.Input((8, 3), name="x"), keras.layers.Masking(-7.0)])
    values = feed_of(model)["x"]
    hidden = (values == -7.0).all(axis=-1)
    assert hidden.any(axis=1).tolist() == [True, True, False]
    assert not hidden.all(axis=1).any()


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
def test_a_step_is_left_of_short_sequences(steps: int, keras: Any) -> None:
    layers = [
        keras.Input((steps,), dtype="int32", name="x"),
        keras.layers.Embedding(9, 4, mask_zero=True),
    ]
    assert (feed_of(keras.Sequential(layers))["x"] != 0).any(axis=1).all()


def test_words_that_a_lookup_knows_and_one_that_it_does_not(keras: Any) -> None:
    layers = keras.layers
    words = keras.Input((30,), dtype="string", name="w")
    numbers = keras.Input((30,), dtype="int64", name="n")
    outputs = [
        layers.StringLookup(vocabulary=["red", "blue"])(words),
        layers.IntegerLookup(vocabulary=[5, 77])(numbers),
    ]
    feed = feed_of(keras.Model([words, numbers], outputs))
    assert set(feed["w"].reshape(-1)) == {"red", "blue", "not a word of it"}
    assert set(feed["n"].reshape(-1).tolist()) == {5, 77, 78}


def test_integers_of_a_subclassed_model_share_the_smallest(keras: Any) -> None:
    class Two(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = keras.layers.Embedding(40, 4), keras.layers.Embedding(6, 4)

        def call(self, x: Any, y: Any) -> Any:
            return self.a(x) + self.b(x) + y

    inputs = [
        TensorSpec("x", np.dtype("int32"), (None, 3)),
        TensorSpec("y", np.dtype("float32"), (None, 3, 4)),
    ]
    assert input_uses(Two(), inputs) == [InputUse(6), InputUse()]


def test_images_stay_normal_numbers(keras: Any) -> None:
    model = keras.Sequential([keras.Input((8, 8, 3), name="x"), keras.layers.Conv2D(2, 3)])
    values = feed_of(model)["x"]
    assert values.min() < -1
    assert values.max() > 1
