"""SavedModel folders: one signature as a Keras model, its optimizer left out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtimes import ConversionError, DataError, ModelError, check, open_runtime
from runtimes.engines.open_runtime import is_keras
from runtimes.keras_models.load import load_keras_model
from runtimes.keras_models.saved_model import is_saved_model, load_saved_model
from runtimes.keras_models.signature import keras_signature


@pytest.fixture(scope="module")
def tf(keras: Any) -> Any:
    import tensorflow

    return tensorflow


@pytest.fixture(scope="module")
def folder(tf: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module with two signatures, of which one has two inputs and two outputs."""

    class Scale(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.factor = tf.Variable([[2.0, 3.0]], name="factor")

        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
        def one(self, x: Any) -> Any:
            return {"y": x * self.factor}

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 2], tf.float32, name="x"),
                tf.TensorSpec([None], tf.int64, name="count"),
            ]
        )
        def two(self, x: Any, count: Any) -> Any:
            return {"y": x * self.factor, "more": count + 1}

    path = tmp_path_factory.mktemp("scale") / "two"
    module = Scale()
    tf.saved_model.save(module, path, signatures={"one": module.one, "two": module.two})
    return path


def saved(tf: Any, path: Path, function: Any, *specs: Any, **attributes: Any) -> Path:
    """Save one function as the default signature of a module that holds ``attributes``."""
    module = tf.Module()
    for name, value in attributes.items():
        setattr(module, name, value)
    module.call = tf.function(function, input_signature=list(specs))
    tf.saved_model.save(module, path, signatures=module.call)
    return path


def test_a_signature_becomes_a_model_of_named_inputs_and_outputs(folder: Path) -> None:
    model = load_saved_model(folder, signature_key="two")
    assert [str(spec) for spec in keras_signature(model).inputs] == [
        "count: int64[batch]",
        "x: float32[batch, 2]",
    ]
    outputs = model({"x": np.float32([[1, 1]]), "count": np.array([4])})
    np.testing.assert_array_equal(outputs["y"], [[2.0, 3.0]])
    np.testing.assert_array_equal(outputs["more"], [5])
    assert model.count_params() == 2


def test_the_signature_has_to_be_clear(folder: Path) -> None:
    with pytest.raises(DataError, match=r"several signatures, 'one', 'two'.*--signature-key"):
        load_saved_model(folder)
    with pytest.raises(DataError, match="no signature 'three'; it has 'one', 'two'"):
        load_saved_model(folder, signature_key="three")


def test_a_module_without_signatures_says_how_to_save_it(tf: Any, tmp_path: Path) -> None:
    tf.saved_model.save(tf.Module(), tmp_path / "none")
    with pytest.raises(DataError, match=r"has no signatures.*signatures="):
        load_saved_model(tmp_path / "none")


def test_a_signature_key_is_for_saved_models_only(digits_model: Any, digits_files: Path) -> None:
    for source in (digits_model, digits_files / "model.keras"):
        with pytest.raises(DataError, match="this model is not one"):
            load_keras_model(source, signature_key="serving_default")


def test_an_optimizer_is_left_out(tf: Any, tmp_path: Path) -> None:
    """TensorFlow itself cannot load this: a user object has no attribute 'add_slot'."""
    weight = tf.Variable([1.0, 2.0], name="weight")
    optimizer = tf.compat.v1.train.AdamOptimizer(0.1)
    optimizer.apply_gradients([(tf.constant([1.0, 1.0]), weight)])
    path = saved(
        tf,
        tmp_path / "trained",
        lambda x: x * weight,
        tf.TensorSpec([None, 2], tf.float32, name="x"),
        weight=weight,
        optimizer=optimizer,
    )
    with pytest.raises(AttributeError, match="add_slot"):
        tf.saved_model.load(path)
    model = load_saved_model(path)
    np.testing.assert_allclose(
        model({"x": np.ones((1, 2), np.float32)})["output_0"], [weight.numpy()]
    )
    assert model.count_params() == 2


def test_a_keras_export_runs_and_is_checked_against(
    digits_model: Any, digits_files: Path, tmp_path: Path
) -> None:
    digits_model.export(tmp_path / "exported", verbose=False)
    assert is_saved_model(tmp_path / "exported")
    assert is_keras(tmp_path / "exported")
    with np.load(digits_files / "test.npz") as samples:
        images = samples["image"][:8]
    with open_runtime(tmp_path / "exported") as runtime:
        assert [spec.name for spec in runtime.inputs] == ["image"]
        (found,) = runtime.run({"image": images}).values()
    np.testing.assert_allclose(found, digits_model.predict(images, verbose=0), atol=1e-5)
    report = check(
        tmp_path / "exported", digits_files / "model.keras", {"image": images}, rtol=1e-3
    )
    assert report.passed


def test_inputs_keep_their_type_whatever_the_policy(keras: Any, tf: Any, tmp_path: Path) -> None:
    path = saved(
        tf, tmp_path / "wide", lambda x: x / 3.0, tf.TensorSpec([None], tf.float64, name="x")
    )
    keras.config.set_dtype_policy("mixed_float16")
    try:
        with open_runtime(path) as runtime:
            assert runtime.inputs[0].dtype == np.float64
            found = runtime.run({"x": np.array([1.0])})["output_0"]
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(found, [1.0 / 3.0])


def test_names_that_keras_does_not_allow(tf: Any, tmp_path: Path) -> None:
    function = tf.function(lambda x: {"out": x + 1.0}).get_concrete_function(
        tf.TensorSpec([None, 2], tf.float32, name="images/x")
    )
    tf.saved_model.save(tf.Module(), tmp_path / "named", signatures=function)
    model = load_saved_model(tmp_path / "named")
    (spec,) = keras_signature(model).inputs
    with open_runtime(model) as runtime:
        found = runtime.run({spec.name: np.zeros((1, 2), np.float32)})["out"]
    np.testing.assert_array_equal(found, [[1.0, 1.0]])


def test_an_unknown_rank_wants_a_signature(tf: Any, tmp_path: Path) -> None:
    path = saved(tf, tmp_path / "any", lambda x: x + 1.0, tf.TensorSpec(None, tf.float32, name="x"))
    model = load_saved_model(path)
    assert model.name == "any"
    with pytest.raises(ConversionError, match=r"'any'.*--signature"):
        keras_signature(model)


def test_version_1_saved_models(tf: Any, tmp_path: Path) -> None:
    path = tmp_path / "version_1"
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None, 2], name="x")
        weight = tf.compat.v1.get_variable("w", initializer=tf.constant([[2.0], [3.0]]))
        y = x @ weight
        session.run(tf.compat.v1.global_variables_initializer())
        builder = tf.compat.v1.saved_model.Builder(str(path))
        signature = tf.compat.v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(
            session, ["serve"], signature_def_map={"serving_default": signature}
        )
        builder.save()
    model = load_saved_model(path)
    np.testing.assert_array_equal(model({"x": np.float32([[1, 1]])})["y"], [[5.0]])


def test_damaged_folders(folder: Path, tmp_path: Path) -> None:
    truncated = Path(shutil.copytree(folder, tmp_path / "truncated"))
    content = (truncated / "saved_model.pb").read_bytes()
    (truncated / "saved_model.pb").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="truncated is a damaged SavedModel"):
        load_saved_model(truncated)

    weightless = Path(shutil.copytree(folder, tmp_path / "weightless"))
    shutil.rmtree(weightless / "variables")
    with pytest.raises(ModelError, match="the folder 'variables' is missing"):
        load_saved_model(weightless)

    halved = Path(shutil.copytree(folder, tmp_path / "halved"))
    for shard in (halved / "variables").glob("*.data-*"):
        shard.write_bytes(b"")
    with pytest.raises(ModelError, match="could not be loaded by TensorFlow"):
        load_saved_model(halved, signature_key="one")

    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"folder without a saved_model\.pb"):
        load_keras_model(tmp_path / "empty")
