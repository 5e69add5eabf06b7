"""Live models and files where Keras does not run on TensorFlow: a process that has it converts."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from converter import compress, convert
from converter.export.convert import ConvertOptions, convert_on_tensorflow
from converter.export.opsets import choose_opset
from converter.export.other_backends import as_file, compare_with_original
from converter.export.tensorflow_process import in_tensorflow
from runtimes.errors import ConversionError, DataError, KilnxError, ModelError
from runtimes.keras_models import backend
from runtimes.options import KerasOptions


@pytest.fixture
def live() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    left, right = keras.Input((6,), name="left"), keras.Input((4,), name="right")
    x = keras.layers.Concatenate()([keras.layers.Dense(3)(left), right])
    x = keras.layers.Lambda(lambda x: 2 * x)(keras.layers.BatchNormalization()(x))
    x = keras.layers.Dense(2, name="y")(x)
    model = keras.Model({"right": right, "left": left}, x, name="two")
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    return model


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if Keras ran on JAX here."""
    import converter.export.reference  # noqa: F401

    for name in ("converter.export.convert", "converter.export.reference"):
        monkeypatch.setattr(sys.modules[name], "other_backend", lambda: "jax")


def test_the_backend_is_that_of_keras_or_else_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Fake:
        class backend:
            @staticmethod
            def backend() -> str:
                return "torch"

    monkeypatch.setitem(sys.modules, "keras", Fake)
    assert backend.other_backend() == "torch"
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert backend.other_backend() == "jax"
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert backend.other_backend() is None


def test_a_live_model_goes_through_a_process_that_has_tensorflow(
    live: Any, tmp_path: Path, elsewhere: None
) -> None:
    before = [np.array(one) for one in live.get_weights()]
    report = convert(live, tmp_path / "m.onnx")
    assert (report.source, report.output) == ("two", str(tmp_path / "m.onnx"))
    assert report.notes == ()
    assert [one.name for one in tmp_path.iterdir()] == ["m.onnx"]
    rng = np.random.default_rng(0)
    feed = {
        "left": rng.normal(size=(3, 6)).astype(np.float32),
        "right": rng.normal(size=(3, 4)).astype(np.float32),
    }
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, feed)[0], live(feed), atol=1e-5)
    for one, other in zip(before, live.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_compress_takes_its_float_model_and_loss_from_there(
    live: Any, tmp_path: Path, elsewhere: None
) -> None:
    rng = np.random.default_rng(0)
    data = {
        "left": rng.normal(size=(32, 6)).astype(np.float32),
        "right": rng.normal(size=(32, 4)).astype(np.float32),
        "labels": rng.integers(0, 2, (32, 2)),
    }
    report = compress(live, tmp_path / "out", data, steps=["dedupe"])
    assert report.source == "two"
    assert report.metric_name == "binary_accuracy_logits"
    assert (tmp_path / "out/fp32.onnx").exists()


def test_the_file_is_held_against_the_original(live: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    _, samples = convert_on_tensorflow(live, path, ConvertOptions(), KerasOptions())
    assert compare_with_original(path, live, samples) == ()
    live.layers[-1].bias.assign([0.1, 0])
    with pytest.raises(ConversionError, match="does not match the Keras model 'two'"):
        compare_with_original(path, live, samples)


def test_an_original_that_does_not_run_here_is_a_note(live: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    _, samples = convert_on_tensorflow(live, path, ConvertOptions(), KerasOptions())

    class Broken:
        name, _inputs_struct = "broken", live._inputs_struct

    (note,) = compare_with_original(path, Broken(), samples)
    assert "a copy of the model on TensorFlow" in note


def test_classes_that_no_module_holds_and_models_without_weights_are_refused() -> None:
    import keras

    class Own(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x

    with (
        pytest.raises(ConversionError, match=r"'Own' is defined in the script .*my_layers\.py"),
        as_file(keras.Sequential([keras.Input((2,)), Own()]), KerasOptions()),
    ):
        pass
    with (
        pytest.raises(ConversionError, match="no weights yet: call it on a batch"),
        as_file(keras.Sequential([keras.layers.Dense(2)]), KerasOptions()),
    ):
        pass


def test_what_the_other_process_returns_and_raises() -> None:
    assert in_tensorflow(os.getenv, "KERAS_BACKEND") == "tensorflow"
    with pytest.raises(KilnxError) as error:
        choose_opset(3, None)
    with pytest.raises(type(error.value)) as other:
        in_tensorflow(choose_opset, 3, None)
    assert str(other.value) == str(error.value)
    with pytest.raises(RuntimeError, match=r"has TensorFlow:\n(?s:.*)ValueError: invalid literal"):
        in_tensorflow(int, "many")
    with pytest.raises(ModelError, match="ended: exit code 3"):
        in_tensorflow(os._exit, 3)
    with pytest.raises(DataError, match="give data as a file"):
        in_tensorflow(len, (number for number in ()))


_ON_JAX = """
import sys, keras
from converter import convert
i = keras.Input((8, 8, 3))
x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, activation="gelu")(i))
m = keras.Model(i, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
report = convert(m, sys.argv[1])
assert keras.backend.backend() == "jax", keras.backend.backend()
assert report.notes == (), report.notes
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_keras_on_jax(tmp_path: Path) -> None:
    path = os.pathsep.join(sys.path)
    subprocess.run(
        [sys.executable, "-c", _ON_JAX, str(tmp_path / "m.onnx")],
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": path},
        check=True,
    )
    assert (tmp_path / "m.onnx").exists()
