"""A model is never changed by looking at it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter import compress, convert
from runtimes import check
from runtimes.engines.keras import KerasRuntime
from runtimes.keras_models.state import kept_state, variables_of, written_variables


def contents(model: Any) -> list[tuple[str, bytes]]:
    """Every variable of a model, with the metrics and the optimizer's, bit by bit."""
    variables = {id(one): one for one in variables_of(model)}
    optimizer = getattr(model, "optimizer", None)
    variables.update({id(one): one for one in (optimizer.variables if optimizer else [])})
    return [(str(one.name), np.asarray(one.numpy()).tobytes()) for one in variables.values()]


@pytest.fixture(scope="module")  # no test changes it, which is what they say
def restless(keras: Any) -> Any:
    """A compiled model of which nearly everything moves when it is called."""
    import tensorflow as tf

    class Restless(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, **arguments: Any) -> None:
            super().__init__(**arguments)
            self.inside = {"list": [tf.Variable(1.0)]}
            self.outside = tf.Variable([0.0, 0.0, 0.0])

        def build(self, shape: Any) -> None:
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)
            self.scale = self.add_weight(shape=(), initializer="ones")
            self.seed = keras.random.SeedGenerator(7)

        def call(self, x: Any) -> Any:
            self.count.assign_add(1.0)
            self.scale.value.assign_add(0.5)
            self.outside.assign_add([1.0, 1.0, 1.0])
            self.inside["list"][0].assign_add(1.0)
            noise = keras.random.normal((3,), seed=self.seed)
            return x * self.scale + self.count + self.outside + 1e-3 * noise

    keras.utils.set_random_seed(0)
    x = keras.Input(batch_shape=(4, 5, 3), name="x")
    y = keras.layers.BatchNormalization()(Restless(name="restless")(x))
    y = keras.layers.Bidirectional(keras.layers.GRU(3, stateful=True))(y)
    model = keras.Model(x, keras.layers.Dense(2, name="y")(keras.layers.Dropout(0.5)(y)))
    model.compile("adam", "mse", metrics=["mae"])
    samples = np.random.default_rng(0).standard_normal((8, 5, 3)).astype(np.float32)
    model.fit(samples, np.zeros((8, 2), np.float32), batch_size=4, verbose=0)
    return model


@pytest.fixture(scope="module")
def streaming(keras: Any) -> Any:
    """A stateful model in the middle of a stream, with BatchNormalization and Dropout."""
    keras.utils.set_random_seed(0)
    x = keras.Input(batch_shape=(4, 5, 3), name="x")
    y = keras.layers.BatchNormalization()(x)
    y = keras.layers.Bidirectional(keras.layers.LSTM(3, stateful=True))(y)
    model = keras.Model(x, keras.layers.Dense(2, name="y")(keras.layers.Dropout(0.5)(y)))
    model.compile("adam", "mse", metrics=["mae"])
    samples = np.random.default_rng(0).standard_normal((8, 5, 3)).astype(np.float32)
    model.fit(samples, np.zeros((8, 2), np.float32), batch_size=4, verbose=0)
    return model


def feed(seed: int = 1) -> Any:
    return np.random.default_rng(seed).standard_normal((4, 5, 3)).astype(np.float32)


def test_every_variable_is_found_and_put_back(restless: Any) -> None:
    before = contents(restless)
    with kept_state(restless) as moved:
        first = np.asarray(restless(feed()))
        second = np.asarray(restless(feed()))
        assert contents(restless) != before
    assert contents(restless) == before
    assert not np.allclose(first, second)  # else the case proves nothing
    # Weight, count, seed, both variables of TensorFlow's own, and the states of two directions.
    assert len(moved) == 7
    with kept_state(restless):
        np.testing.assert_array_equal(np.asarray(restless(feed())), first)


def test_a_call_that_fails_leaves_no_trace(restless: Any) -> None:
    def fail() -> None:
        with kept_state(restless):
            restless(feed())
            raise RuntimeError("planted")

    before = contents(restless)
    with pytest.raises(RuntimeError, match="planted"):
        fail()
    assert contents(restless) == before


def test_runs_of_the_runtime_do_not_depend_on_each_other(restless: Any) -> None:
    before = contents(restless)
    with KerasRuntime(restless) as runtime:
        (first,) = runtime.run({"x": feed()}).values()
        timed = runtime.prepare({"x": feed()})
        timed()
        (second,) = runtime.run({"x": feed()}).values()
    np.testing.assert_array_equal(first, second)
    assert contents(restless) == before


def test_a_model_without_state_has_nothing_to_put_back(keras: Any) -> None:
    import tensorflow as tf

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dropout(0.5)])
    function = tf.function(lambda x: model(x, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec((None, 3)))
    assert written_variables(concrete) == []


def test_convert_and_check_change_nothing(streaming: Any, tmp_path: Path) -> None:
    before = contents(streaming)
    for stateful in (False, True):
        convert(streaming, tmp_path / f"{stateful}.onnx", stateful=stateful)
        assert contents(streaming) == before
    samples = np.random.default_rng(3).standard_normal((12, 5, 3)).astype(np.float32)
    report = check(streaming, tmp_path / "False.onnx", samples, layers=True)
    assert report.passed, report.reason
    assert contents(streaming) == before


def test_a_refusal_changes_nothing(restless: Any, tmp_path: Path) -> None:
    from runtimes.errors import KilnxError

    before = contents(restless)
    with pytest.raises(KilnxError):  # it draws random numbers and writes to tf.Variables
        convert(restless, tmp_path / "model.onnx")
    assert contents(restless) == before


@pytest.mark.slow
def test_compress_changes_nothing(streaming: Any, tmp_path: Path) -> None:
    before = contents(streaming)
    samples = np.random.default_rng(3).standard_normal((64, 5, 3)).astype(np.float32)
    compress(
        streaming, tmp_path / "out", samples, steps=("dedupe", "prune", "quantize"), recover=False
    )
    assert contents(streaming) == before
