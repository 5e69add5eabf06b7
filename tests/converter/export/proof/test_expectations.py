"""What Keras is asked before a file is proven: at which sizes, and what a refusal says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter import convert
from converter.export.proof.expectations import Expectation, expectations
from converter.export.proof.sizes import needed_size
from runtimes.errors import ConversionError, UnsupportedOperator
from runtimes.keras_models.signature import keras_signature


def runs_of(model: Any, data: Any = None) -> tuple[Expectation, ...]:
    return expectations(model, keras_signature(model), data)


def sizes_of(model: Any, name: str = "length") -> list[int]:
    return [run.sizes[name] for run in runs_of(model)]


@pytest.fixture
def positions(keras: Any) -> Any:
    """A layer that adds a table of positions, which ends."""

    class Positions(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, longest: int) -> None:
            super().__init__()
            self.table = keras.layers.Embedding(longest, 4)

        def call(self, x: Any) -> Any:
            return x + self.table(keras.ops.arange(keras.ops.shape(x)[1]))

    return Positions


def test_every_dynamic_dimension_has_three_sizes_one_of_them_odd(keras: Any) -> None:
    image = keras.Input((None, None, 3), name="image")
    runs = runs_of(keras.Model(image, keras.layers.Conv2D(2, 3)(image)))
    for name in ("batch", "height", "width"):
        assert len({run.sizes[name] for run in runs}) == 3
    assert {"height": 75, "width": 107}.items() <= runs[2].sizes.items()


def test_a_fixed_batch_is_proven_at_two_lengths(keras: Any) -> None:
    x = keras.Input(batch_shape=(2, None, 3), name="x")
    runs = runs_of(keras.Model(x, keras.layers.Conv1D(2, 3)(x)))
    assert [run.batch for run in runs] == [2, 2]
    assert len({run.sizes["length"] for run in runs}) == 2


def test_static_sizes_are_proven_on_two_batches_only(keras: Any) -> None:
    x = keras.Input((8, 3), name="x")
    assert [run.batch for run in runs_of(keras.Model(x, keras.layers.Conv1D(2, 3)(x)))] == [1, 3]


def test_sizes_are_multiples_where_a_model_halves_and_joins(keras: Any) -> None:
    layers = keras.layers
    image = keras.Input((None, None, 3), name="image")
    half = layers.UpSampling2D(4)(layers.MaxPooling2D(4)(image))
    model = keras.Model(image, layers.Concatenate()([image, half]))
    assert all(size % 4 == 0 for size in sizes_of(model, "height"))
    assert len(set(sizes_of(model, "height"))) == 3


@pytest.mark.parametrize("longest", [3, 10, 20, 300])
def test_within_a_table_of_positions(longest: int, positions: Any, keras: Any) -> None:
    x = keras.Input((None, 4), name="x")
    found = sizes_of(keras.Model(x, positions(longest)(x)))
    assert max(found) <= longest
    assert len(set(found)) >= (2 if longest > 3 else 1)


@pytest.mark.parametrize("kernel", [100, 1000])
def test_longer_than_every_window(kernel: int, keras: Any) -> None:
    x = keras.Input((None, 2), name="x")
    outputs = keras.layers.GlobalMaxPooling1D()(keras.layers.Conv1D(2, kernel)(x))
    model = keras.Model(x, outputs)
    assert min(sizes_of(model)) >= kernel
    assert all(np.isfinite(run.outputs[0]).all() for run in runs_of(model))


def test_windows_one_after_the_other_multiply(keras: Any) -> None:
    layers = keras.layers
    stack = [layers.Conv1D(2, 80, strides=16), layers.MaxPooling1D(4), layers.Conv1D(2, 3)]
    model = keras.Sequential([keras.Input((None, 1)), *stack])
    needed = needed_size(model)
    assert needed == 80 + 16 * (4 * 2 + 3)
    assert model(np.zeros((1, needed, 1), np.float32)).shape[1] == 1
    assert needed_size(keras.Sequential([keras.Input((3,)), layers.Dense(2)])) == 1


def test_given_samples_are_cut_to_another_size(keras: Any) -> None:
    x = keras.Input((None, 2), name="x")
    model = keras.Model(x, keras.layers.Conv1D(2, 3, name="y")(x))
    samples = np.random.default_rng(0).standard_normal((5, 20, 2)).astype(np.float32)
    runs = runs_of(model, samples)
    assert [run.feed["x"].shape[1] for run in runs] == [20, 20, 15]
    np.testing.assert_array_equal(runs[2].feed["x"], samples[:3, :15])


def test_a_file_that_is_right_at_one_size_only_is_no_file(keras: Any, tmp_path: Path) -> None:
    """Where the length is not known when it is traced, this layer takes that of the samples."""

    class Frozen(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            steps = x.shape[1] or 24
            return x * keras.ops.cast(steps, "float32")

    x = keras.Input(batch_shape=(2, None, 3), name="x")
    model = keras.Model(x, Frozen()(x))
    samples = np.ones((2, 24, 3), np.float32)
    with pytest.raises(ConversionError, match=r"differs by .* at batch 2, length 19"):
        convert(model, tmp_path / "model.onnx", data=samples)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", [False, True])
def test_a_model_that_fails_says_why_in_full(given: bool, keras: Any, tmp_path: Path) -> None:
    class Broken(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            if not isinstance(x, keras.KerasTensor):
                raise ValueError("this is the first line\n\nand this the reason")
            return x

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    x = keras.Input((None, 3), name="x")
    model = keras.Model(x, Broken(name="broken")(x))
    samples = np.ones((4, 5, 3), np.float32) if given else None
    with pytest.raises(ConversionError, match="and this the reason") as caught:
        convert(model, tmp_path / "model.onnx", data=samples)
    assert "Broken.call()" in str(caught.value)
    assert ("--data" in str(caught.value)) is not given


def test_texts_stay_texts_on_the_way_to_an_embedding(keras: Any, tmp_path: Path) -> None:
    layers = keras.layers
    vectorize = layers.TextVectorization(max_tokens=50, output_sequence_length=8)
    vectorize.adapt(["the cat sat on the mat"])
    text = keras.Input((1,), dtype="string", name="text")
    model = keras.Model(text, layers.Embedding(50, 4)(vectorize(text)))
    texts = set(runs_of(model)[1].feed["text"].reshape(-1))
    known = {"the", "cat", "sat", "on", "mat"}
    assert texts
    assert all(text == "not a word of it" or set(text.split()) <= known for text in texts)
    with pytest.raises(UnsupportedOperator, match="text_vectorization"):
        convert(model, tmp_path / "model.onnx")
