"""Keras as the reference: the same names, the same numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtimes import DataError, ModelError, open_runtime
from runtimes.engines.keras import KerasRuntime


def test_a_file_and_a_live_model_give_what_keras_gives(
    digits_model: Any, digits_files: Path, digits: Any
) -> None:
    x = digits[1]["image"][:5]
    expected = np.asarray(digits_model(x, training=False))
    for source in (digits_model, digits_files / "model.keras"):
        with open_runtime(source) as runtime:
            assert [str(spec) for spec in runtime.inputs] == ["image: float32[batch, 16, 16, 1]"]
            assert [str(spec) for spec in runtime.outputs] == ["digit: float32[batch, 10]"]
            assert not runtime.quantized
            for count in (5, 1):
                found = runtime.run({"image": x[:count]})
                np.testing.assert_allclose(found["digit"], expected[:count], rtol=1e-4, atol=1e-5)
            runtime.prepare({"image": x})()


def test_several_inputs_and_outputs_by_name(keras: Any) -> None:
    a = keras.Input((3,), name="a", dtype="float32")
    ids = keras.Input((2,), name="ids", dtype="int32")
    text = keras.layers.Embedding(5, 4, name="text")(ids)
    model = keras.Model(
        {"ids": ids, "a": a},
        {"sum": keras.layers.Add()([a, a]), "flat": keras.layers.Flatten()(text)},
    )
    with KerasRuntime(model) as runtime:
        specs = {spec.name: str(spec) for spec in runtime.inputs}
        assert specs == {"a": "a: float32[batch, 3]", "ids": "ids: int32[batch, 2]"}
        feed = {"a": np.ones((2, 3), np.float32), "ids": np.int32([[0, 1], [2, 3]])}
        found = runtime.run(feed)
        np.testing.assert_array_equal(found["sum"], 2 * feed["a"])
        assert found["flat"].shape == (2, 8)
        assert list(runtime.run(feed, ["flat"])) == ["flat"]
        with pytest.raises(DataError, match="takes the inputs 'a', 'ids', the data hold 'a'"):
            runtime.run({"a": feed["a"]})
        with pytest.raises(ModelError, match="has no output 'q'"):
            runtime.run(feed, ["q"])


def test_dropout_and_batch_statistics_are_those_of_inference(keras: Any) -> None:
    inputs = keras.Input((4,), name="x")
    x = keras.layers.Dropout(0.9)(keras.layers.BatchNormalization()(inputs))
    with KerasRuntime(keras.Model(inputs, x)) as runtime:
        x = np.float32([[1, 2, 3, 4]])
        found = runtime.run({"x": x})[runtime.outputs[0].name]
    np.testing.assert_allclose(found, x, rtol=1e-3)


def test_a_model_that_does_not_know_its_inputs_is_refused(keras: Any) -> None:
    class Subclassed(keras.Model):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x

    with pytest.raises(ModelError, match="does not know the shape of its inputs"):
        KerasRuntime(Subclassed())
    with pytest.raises(ModelError, match="is not a Keras model"):
        KerasRuntime(3)


def test_a_lookup_out_of_range_is_the_models_failure(keras: Any) -> None:
    ids = keras.Input((2,), name="ids", dtype="int32")
    model = keras.Model(ids, keras.layers.Embedding(5, 4)(ids))
    with KerasRuntime(model) as runtime, pytest.raises(ModelError, match="failed when it ran"):
        runtime.run({"ids": np.int32([[0, 99]])})
