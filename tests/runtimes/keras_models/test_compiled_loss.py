"""What a model was trained with is known of live models and of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtimes.keras_models.compiled_loss import losses_of
from runtimes.keras_models.load import load_keras_model
from runtimes.keras_models.loss_meaning import Loss

keras = pytest.importorskip("keras")


def model(*heads: str) -> Any:
    x = keras.Input((3,))
    heads = heads or ("y",)
    outputs = {name: keras.layers.Dense(2, name=name)(x) for name in heads}
    return keras.Model(x, outputs if len(heads) > 1 else outputs[heads[0]])


def own_loss(y_true: Any, y_pred: Any) -> Any:
    return keras.ops.mean(keras.ops.square(y_true - y_pred))


def cases() -> list[tuple[Any, dict[str, Loss]]]:
    losses = keras.losses
    return [
        ("mse", {"": Loss("mse", "values")}),
        (losses.MeanSquaredError(), {"": Loss("MeanSquaredError", "values")}),
        (losses.huber, {"": Loss("huber", "values")}),
        (
            losses.BinaryCrossentropy(from_logits=True),
            {"": Loss("BinaryCrossentropy", "binary", True)},
        ),
        (
            "sparse_categorical_crossentropy",
            {"": Loss("sparse_categorical_crossentropy", "classes")},
        ),
        (own_loss, {}),
    ]


@pytest.mark.filterwarnings("ignore:.*HDF5 file:UserWarning")
@pytest.mark.parametrize("place", range(6))
def test_of_a_live_model_and_its_files(place: int, tmp_path: Path) -> None:
    loss, expected = cases()[place]
    compiled = model()
    compiled.compile("sgd", loss)
    assert losses_of(compiled) == expected
    for name in ("m.keras", "m.h5"):
        compiled.save(tmp_path / name)
        assert losses_of(load_keras_model(tmp_path / name)) == expected


def test_of_several_outputs(tmp_path: Path) -> None:
    compiled = model("a", "b")
    compiled.compile("sgd", {"a": "mse", "b": keras.losses.BinaryCrossentropy()})
    expected = {"a": Loss("mse", "values"), "b": Loss("BinaryCrossentropy", "binary", False)}
    assert losses_of(compiled) == expected
    compiled.save(tmp_path / "m.keras")
    assert losses_of(load_keras_model(tmp_path / "m.keras")) == expected


def test_of_keras_2_live_and_as_a_saved_model(tmp_path: Path) -> None:
    tf_keras = pytest.importorskip("tf_keras")
    old = tf_keras.Sequential([tf_keras.layers.Input((3,)), tf_keras.layers.Dense(2)])
    old.compile("sgd", tf_keras.losses.BinaryCrossentropy(from_logits=True))
    expected = {"": Loss("BinaryCrossentropy", "binary", True)}
    assert losses_of(load_keras_model(old)) == expected
    old.save(tmp_path / "saved", save_format="tf")
    assert losses_of(load_keras_model(tmp_path / "saved")) == expected
    (tmp_path / "saved" / "keras_metadata.pb").write_bytes(b"\x0a\xff damaged")
    assert losses_of(load_keras_model(tmp_path / "saved")) == {}


def test_a_model_that_was_not_compiled_has_none() -> None:
    assert losses_of(model()) == {}
