"""Keras files of every age made live, or an error that says what to add."""

from __future__ import annotations

import base64
import json
import marshal
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtimes import check, open_runtime
from runtimes.engines.open_runtime import is_keras
from runtimes.errors import ConversionError, DataError, ModelError
from runtimes.keras_models.load import load_custom_objects, load_keras_model

Write = Callable[..., Path]

KERNEL = np.float32([[1, 2], [3, 4], [5, 6]])
BIAS = np.float32([-0.5, 0.5])


def keras2_model(**options: Any) -> dict[str, Any]:
    """One Dense layer, as Keras 2.0 to 2.2 wrote it."""
    dense = {
        "class_name": "Dense",
        "name": "dense_1",
        "inbound_nodes": [[["input_1", 0, 0, {}]]],
        "config": {
            "name": "dense_1",
            "trainable": True,
            "units": 2,
            "activation": "linear",
            "use_bias": True,
            "kernel_initializer": {
                "class_name": "VarianceScaling",
                "config": {
                    "scale": 1.0,
                    "mode": "fan_avg",
                    "distribution": "uniform",
                    "seed": None,
                },
            },
            "bias_initializer": {"class_name": "Zeros", "config": {}},
            "kernel_regularizer": None,
            **options,
        },
    }
    x = {
        "class_name": "InputLayer",
        "name": "input_1",
        "inbound_nodes": [],
        "config": {
            "batch_input_shape": [None, 3],
            "dtype": "float32",
            "sparse": False,
            "name": "input_1",
        },
    }
    return {
        "class_name": "Model",
        "config": {
            "name": "model_1",
            "layers": [x, dense],
            "input_layers": [["input_1", 0, 0]],
            "output_layers": [["dense_1", 0, 0]],
        },
    }


WEIGHTS = {
    "input_1": {},
    "dense_1": {"dense_1/kernel:0": KERNEL, "dense_1/bias:0": BIAS},
}
OLD_OPTIMIZER = {
    "loss": "mse",
    "metrics": ["accuracy"],
    "optimizer_config": {"class_name": "Adam", "config": {"lr": 0.001, "decay": 0.0}},
}


def test_hdf5_of_keras_2_with_an_old_optimizer(keras2_hdf5: Write) -> None:
    model = load_keras_model(keras2_hdf5(keras2_model(), WEIGHTS, training=OLD_OPTIMIZER))
    np.testing.assert_array_equal(model(np.ones((1, 3), np.float32)), [[8.5, 12.5]])


def test_a_lambda_activation_is_asked_for(keras2_hdf5: Write, tmp_path: Path) -> None:
    path = keras2_hdf5(keras2_model(activation="<lambda>"), WEIGHTS)
    with pytest.raises(ConversionError, match=r"'dense_1' has the activation '<lambda>'"):
        load_keras_model(path)
    (tmp_path / "mine.py").write_text("CUSTOM_OBJECTS = {'<lambda>': lambda x: x * 2.0}\n")
    model = load_keras_model(path, custom_objects=load_custom_objects(tmp_path / "mine.py"))
    np.testing.assert_array_equal(model(np.ones((1, 3), np.float32)), [[17, 25]])


def test_json_with_weights(keras2_hdf5: Write, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text(json.dumps({**keras2_model(), "keras_version": "2.1.3"}))
    assert is_keras(path)
    with pytest.raises(ConversionError, match=r"without its weights.*--weights"):
        load_keras_model(path)
    model = load_keras_model(path, weights=keras2_hdf5(None, WEIGHTS, name="weights.h5"))
    np.testing.assert_array_equal(model(np.ones((1, 3), np.float32)), [[8.5, 12.5]])


def test_json_of_keras_3_with_its_weights(digits_model: Any, digits: Any, tmp_path: Path) -> None:
    (tmp_path / "digits.json").write_text(digits_model.to_json())
    digits_model.save_weights(tmp_path / "digits.weights.h5")
    model = load_keras_model(tmp_path / "digits.json", weights=tmp_path / "digits.weights.h5")
    images = digits[1]["image"][:4]
    np.testing.assert_array_equal(
        model.predict(images, verbose=0), digits_model.predict(images, verbose=0)
    )


def test_json_with_a_loss_of_the_users(keras: Any, tmp_path: Path) -> None:
    def mine(true: Any, found: Any) -> Any:
        return keras.ops.mean(true - found)

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("adam", mine)
    (tmp_path / "model.json").write_text(model.to_json())
    model.save_weights(tmp_path / "model.weights.h5")
    loaded = load_keras_model(tmp_path / "model.json", weights=tmp_path / "model.weights.h5")
    assert not loaded.compiled
    model.compile("adam", lambda true, found: keras.ops.mean(true - found))
    with pytest.warns(UserWarning, match="includes a `lambda`"):
        model.save(tmp_path / "model.keras")
    assert not load_keras_model(tmp_path / "model.keras").compiled


def test_weights_in_the_place_of_the_files_own(
    keras: Any, digits_model: Any, tmp_path: Path
) -> None:
    other = keras.models.clone_model(digits_model)
    other.save(tmp_path / "other.keras")
    digits_model.save_weights(tmp_path / "digits.weights.h5")
    model = load_keras_model(tmp_path / "other.keras", weights=tmp_path / "digits.weights.h5")
    for found, expected in zip(model.get_weights(), digits_model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(DataError, match=r"a live model loads them with model\.load_weights"):
        load_keras_model(digits_model, weights=tmp_path / "digits.weights.h5")


def test_a_model_of_unknown_shape_takes_no_weights(
    keras: Any, keras2_hdf5: Write, tmp_path: Path
) -> None:
    (tmp_path / "model.json").write_text(keras.Sequential([keras.layers.Dense(2)]).to_json())
    with pytest.raises(ConversionError, match="does not record the shape of the model's inputs"):
        load_keras_model(tmp_path / "model.json", weights=keras2_hdf5(None, WEIGHTS))


def test_hdf5_of_keras_3(keras: Any, digits_model: Any, digits: Any, tmp_path: Path) -> None:
    images = digits[1]["image"][:4]
    inputs = keras.Input((16, 16, 1), name="twice")
    nested = keras.Model(inputs, keras.layers.Add()([digits_model(inputs), digits_model(-inputs)]))
    for model in (digits_model, nested):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras calls the format legacy
            model.save(tmp_path / "model.h5")
        found = load_keras_model(tmp_path / "model.h5").predict(images, verbose=0)
        np.testing.assert_allclose(found, model.predict(images, verbose=0), atol=1e-5)


def test_an_archive_that_was_unpacked(digits_model: Any, digits: Any, tmp_path: Path) -> None:
    digits_model.save(tmp_path / "model.keras")
    zipfile.ZipFile(tmp_path / "model.keras").extractall(tmp_path / "unpacked")
    (tmp_path / "model.keras").rename(tmp_path / "model.zip")
    images = digits[1]["image"][:4]
    expected = digits_model.predict(images, verbose=0)
    for path in (tmp_path / "unpacked", tmp_path / "model.zip"):
        assert is_keras(path)
        found = load_keras_model(path).predict(images, verbose=0)
        np.testing.assert_array_equal(found, expected)


@pytest.fixture(params=["keras", "h5", "json"])
def trap(keras: Any, request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Path]:
    """A model whose Lambda layer would leave a file behind, in each kind of file."""
    touched = tmp_path / "touched"
    code = f"lambda x: [open({str(touched)!r}, 'w').close(), x * 2.0][1]"
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Lambda(eval(code), name="twice", output_shape=(2,)),
            keras.layers.Dense(1),
        ]
    )
    path = tmp_path / f"model.{request.param}"
    weights = tmp_path / "model.weights.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_weights(weights)
        if request.param == "json":
            path.write_text(model.to_json())
        else:
            model.save(path)
    touched.unlink(missing_ok=True)
    return {"path": path, "touched": touched, "weights": weights}


def test_code_in_a_file_does_not_run(trap: dict[str, Path]) -> None:
    weights = trap["weights"] if trap["path"].suffix == ".json" else None
    said = r"the Lambda layer 'twice' \(the bytecode of a Python function that names .*--unsafe"
    with pytest.raises(ConversionError, match=said):
        load_keras_model(trap["path"], weights=weights)
    assert not trap["touched"].exists()


def test_a_function_of_the_users_runs_in_its_place(trap: dict[str, Path]) -> None:
    weights = trap["weights"] if trap["path"].suffix == ".json" else None
    model = load_keras_model(
        trap["path"], weights=weights, custom_objects={"twice": lambda x: x * 2.0}
    )
    kernel = model.layers[-1].kernel
    np.testing.assert_allclose(
        model(np.ones((1, 2), np.float32)), 2 * np.ones((1, 2)) @ kernel, rtol=1e-6
    )
    assert not trap["touched"].exists()


def test_code_in_a_file_runs_when_told(trap: dict[str, Path]) -> None:
    weights = trap["weights"] if trap["path"].suffix == ".json" else None
    model = load_keras_model(trap["path"], weights=weights, unsafe=True)
    model(np.ones((1, 2), np.float32))
    assert trap["touched"].exists()


@pytest.mark.parametrize("version", ["2.4.0", "3.0.0"])
def test_names_that_code_in_a_file_uses(keras2_hdf5: Write, version: str) -> None:
    """Keras 2 found them around the layer; the bytecode has them not."""

    def lambda_of(source: str) -> Path:
        code = base64.encodebytes(marshal.dumps(eval(source).__code__)).decode("ascii")
        config = keras2_model(function=[code, None, None], function_type="lambda")
        layer = config["config"]["layers"][1]
        layer["class_name"] = "Lambda"
        for key in ("units", "activation", "use_bias", "kernel_initializer", "bias_initializer"):
            del layer["config"][key]
        del layer["config"]["kernel_regularizer"]
        return keras2_hdf5(config, {"input_1": {}}, version=version)

    with pytest.raises(ConversionError, match=r"uses a name that it does not define.*'helper'"):
        load_keras_model(lambda_of("lambda x: helper(x)"), unsafe=True)
    if version.startswith("2"):
        model = load_keras_model(lambda_of("lambda x: tf.nn.relu(x) + K.abs(x)"), unsafe=True)
        found = model(np.float32([[-1, 0, 2]]))
        np.testing.assert_array_equal(found, [[1, 0, 4]])


def test_a_file_may_not_turn_safe_mode_off(keras2_hdf5: Write) -> None:
    """Calls of Keras itself, which a configuration could make in old versions."""
    call = {
        "module": "keras.config",
        "class_name": "function",
        "config": "enable_unsafe_deserialization",
        "registered_name": "enable_unsafe_deserialization",
    }
    for version in ("2.4.0", "3.0.0"):
        config = keras2_model(activation=call)
        with pytest.raises((ConversionError, ModelError)):
            load_keras_model(keras2_hdf5(config, WEIGHTS, version=version))


@pytest.mark.parametrize("version", ["2.4.0", "3.0.0"])
@pytest.mark.parametrize("hidden", ["bare", "padded", "class"])
def test_code_that_hides(keras2_hdf5: Write, tmp_path: Path, version: str, hidden: str) -> None:
    """Base64 is read around characters that are none of its own, and by Keras as well."""
    touched = tmp_path / "touched"
    function = eval(f"lambda x: [open({str(touched)!r}, 'w').close(), x][1]")
    code = base64.encodebytes(marshal.dumps(function.__code__)).decode("ascii")
    activation: Any = {
        "bare": code,
        "padded": {"value": ["!" + code, None, None]},
        "class": {"class_name": "__lambda__", "config": {"value": "\n" + code}},
    }[hidden]
    path = keras2_hdf5(keras2_model(activation=activation), WEIGHTS, version=version)
    with pytest.raises((ConversionError, ModelError)):
        load_keras_model(path)(np.ones((1, 3), np.float32))
    lambda_layer = keras2_model(function=["!" + code, None, None])
    lambda_layer["config"]["layers"][1]["class_name"] = "Lambda"
    path = keras2_hdf5(lambda_layer, {"input_1": {}}, version=version)
    with pytest.raises((ConversionError, ModelError)):
        load_keras_model(path)(np.ones((1, 3), np.float32))
    assert not touched.exists()


def test_a_vocabulary_file_of_this_machine(keras2_hdf5: Write, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a\nb\n")
    config = keras2_model(vocabulary=str(tmp_path / "secret"), oov_token="[UNK]")
    config["config"]["layers"][1]["class_name"] = "StringLookup"
    config["config"]["layers"][0]["config"]["dtype"] = "string"
    for key in ("units", "activation", "use_bias"):
        del config["config"]["layers"][1]["config"][key]
    for version in ("2.4.0", "3.0.0"):
        with pytest.raises((ConversionError, ModelError), match="vocabulary"):
            load_keras_model(keras2_hdf5(config, {"input_1": {}}, version=version))


@pytest.mark.parametrize(
    "damage",
    [
        {"class_name": "Model"},
        {"class_name": "Model", "config": {"layers": [], "input_layers": 3, "output_layers": []}},
        {"class_name": "Model", "config": {"name": "m", "layers": [{}], "input_layers": []}},
        {"class_name": 7, "config": {"name": "m"}},
        {"class_name": "Sequential", "config": {"name": "m", "layers": [{"class_name": "Dense"}]}},
        {"config": None},
    ],
)
@pytest.mark.parametrize("version", ["1.2.2", "2.4.0", "3.0.0"])
def test_configurations_that_are_none(
    keras2_hdf5: Write, damage: dict[str, Any], version: str
) -> None:
    with pytest.raises((ConversionError, ModelError), match=r"model\.h5"):
        load_keras_model(keras2_hdf5(damage, {}, version=version))


def test_a_missing_class_is_named(keras: Any, tmp_path: Path) -> None:
    class Twice(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x * 2.0

    model = keras.Sequential([keras.Input((2,)), Twice()])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(tmp_path / "model.keras")
        model.save(tmp_path / "model.h5")
    for name in ("model.keras", "model.h5"):
        with pytest.raises(ConversionError, match=r"'Twice'.*--custom my_layers\.py"):
            load_keras_model(tmp_path / name)
        assert load_keras_model(tmp_path / name, custom_objects={"Twice": Twice}).built


def test_the_reference_of_a_check_may_be_any_of_them(keras2_hdf5: Write, tmp_path: Path) -> None:
    path = keras2_hdf5(keras2_model(), WEIGHTS)
    with open_runtime(path) as runtime:
        assert [str(spec) for spec in runtime.inputs] == ["input_1: float32[batch, 3]"]
    samples = {"input_1": np.ones((4, 3), np.float32)}
    assert check(path, load_keras_model(path), samples, rtol=1e-6).passed


def test_custom_objects_have_to_be_a_dict(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("CUSTOM_OBJECTS = ['Twice']\n")
    with pytest.raises(DataError, match="CUSTOM_OBJECTS must map names"):
        load_custom_objects(tmp_path / "mine.py")
