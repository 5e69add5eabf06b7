"""A model is called in the structure that it was built on, of which Keras does not warn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter import convert
from runtimes.engines.keras import KerasRuntime
from runtimes.keras_models.signature import keras_signature

STRUCTURES: dict[str, Callable[[Any], Any]] = {
    "tensor": lambda tensor: tensor,
    "list of one": lambda tensor: [tensor],
    "tuple of one": lambda tensor: (tensor,),
    "dict of one": lambda tensor: {"x": tensor},
    "list in a list": lambda tensor: [[tensor]],
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_one_input_in_any_structure(name: str, keras: Any, tmp_path: Path) -> None:
    tensor = keras.Input((4,), name="x")
    model = keras.Model(STRUCTURES[name](tensor), keras.layers.Dense(3, name="y")(tensor))
    x = np.ones((2, 4), np.float32)
    expected = np.asarray(model(STRUCTURES[name](x), training=False))
    # Warnings are errors here.
    for live in (model, keras.models.clone_model(model)):
        live.set_weights(model.get_weights())
        with KerasRuntime(live) as runtime:
            assert [spec.name for spec in runtime.inputs] == ["x"]
            np.testing.assert_allclose(runtime.run({"x": x})["y"], expected, rtol=1e-6)
    report = convert(model, tmp_path / "m.onnx")
    assert report.inputs == ("x: float32[batch, 4]",)


def test_a_file_keeps_the_structure(keras: Any, tmp_path: Path) -> None:
    tensor = keras.Input((4,), name="x")
    model = keras.Model([tensor], keras.layers.Dense(3, name="y")(tensor))
    model.save(tmp_path / "m.keras")
    convert(tmp_path / "m.keras", tmp_path / "m.onnx")


def test_a_stated_signature_in_the_structure_of_the_model(keras: Any, tmp_path: Path) -> None:
    tensor = keras.Input((None, 4), name="x")
    model = keras.Model([tensor], keras.layers.Dense(3, name="y")(tensor))
    signature = {"x": ((None, 7, 4), "float32")}
    report = convert(model, tmp_path / "m.onnx", signature=signature)
    assert report.inputs == ("x: float32[batch, 7, 4]",)


def test_several_inputs_keep_theirs(keras: Any) -> None:
    tensors = [keras.Input((4,), name=name) for name in "ab"]
    model = keras.Model(tensors, keras.layers.Add()(tensors))
    signature = keras_signature(model)
    x = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(signature.call(model, [x, 2 * x]), 3 * x)
