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


@pytest.mark.parametrize("place", range(6))
def test_of_a_live_model_and_its_file(place: int, tmp_path: Path) -> None:
    loss, expected = cases()[place]
    compiled = model()
    compiled.compile("sgd", loss)
    assert losses_of(compiled) == expected
    compiled.save(tmp_path / "m.keras")
    assert losses_of(load_keras_model(tmp_path / "m.keras")) == expected


def test_of_several_outputs(tmp_path: Path) -> None:
    compiled = model("a", "b")
    compiled.compile("sgd", {"a": "mse", "b": keras.losses.BinaryCrossentropy()})
    expected = {"a": Loss("mse", "values"), "b": Loss("BinaryCrossentropy", "binary", False)}
    assert losses_of(compiled) == expected
    compiled.save(tmp_path / "m.keras")
    assert losses_of(load_keras_model(tmp_path / "m.keras")) == expected


def test_a_model_that_was_not_compiled_has_none() -> None:
    assert losses_of(model()) == {}
