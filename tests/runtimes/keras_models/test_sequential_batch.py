"""The batch that a Sequential model took from its data is free; one that the user fixed is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter import convert
from runtimes import check
from runtimes.keras_models.load import load_keras_model
from runtimes.keras_models.signature import keras_signature

IMAGES = np.random.default_rng(0).standard_normal((32, 8, 8, 3)).astype(np.float32)


@pytest.fixture
def network(keras: Any) -> Callable[..., Any]:
    def make(*first: Any) -> Any:
        keras.utils.set_random_seed(0)
        hidden = [keras.layers.Conv2D(4, 3, name="conv"), keras.layers.GlobalMaxPooling2D()]
        return keras.Sequential([*first, *hidden, keras.layers.Dense(4, name="scores")])

    return make


def fitted(model: Any) -> Any:
    model.compile("adam", "mse")
    model.fit(IMAGES, np.zeros((32, 4), np.float32), batch_size=16, verbose=0)
    return model


def batch_of(model: Any) -> Any:
    return keras_signature(model).inputs[0].shape[0]


def test_the_batch_of_fit_is_free(network: Any, tmp_path: Path) -> None:
    model = fitted(network())
    report = convert(model, tmp_path / "model.onnx")
    assert [text.partition(":")[2] for text in report.inputs] == [" float32[batch, 8, 8, 3]"]
    assert report.outputs == ("scores: float32[batch, 4]",)
    assert any("16" in note and "give a signature to fix it" in note for note in report.notes)
    assert check(model, tmp_path / "model.onnx", IMAGES[:5]).passed
    assert model.input_shape == (16, 8, 8, 3)  # the live model is as it was


@pytest.mark.sweep(2)
@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
def test_so_it_is_in_a_file(ending: str, network: Any, tmp_path: Path) -> None:
    fitted(network()).save(tmp_path / f"model.{ending}")
    assert batch_of(load_keras_model(tmp_path / f"model.{ending}")) == "batch"


def test_a_signature_fixes_it(network: Any, tmp_path: Path) -> None:
    report = convert(
        fitted(network()), tmp_path / "m.onnx", signature={"image": ((5, 8, 8, 3), "float32")}
    )
    assert report.inputs == ("image: float32[5, 8, 8, 3]",)
    assert report.outputs == ("scores: float32[5, 4]",)


def test_what_the_user_fixed_stays(keras: Any, network: Any, tmp_path: Path) -> None:
    unnamed = network(keras.Input(batch_shape=(16, 8, 8, 3)))
    assert batch_of(unnamed) == 16
    assert batch_of(fitted(unnamed)) == 16
    assert batch_of(network(keras.layers.InputLayer(batch_shape=(16, 8, 8, 3)))) == 16
    named = fitted(network(keras.Input(batch_shape=(16, 8, 8, 3), name="image")))
    named.save(tmp_path / "named.keras")
    assert batch_of(load_keras_model(tmp_path / "named.keras")) == 16


def test_a_stateful_layer_needs_its_batch(keras: Any) -> None:
    model = keras.Sequential([keras.layers.GRU(3, stateful=True)])
    model(np.zeros((16, 4, 2), np.float32))
    assert batch_of(model) == 16
