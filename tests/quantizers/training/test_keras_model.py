"""An ONNX graph as a Keras model: it fits, is saved, and goes back as the graph that it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from quantizers import GraphModel
from runtimes.engines.ort import OrtRuntime
from runtimes.errors import DataError, ModelError
from runtimes.onnx_files.load_save import load_model

pytestmark = pytest.mark.keras

Graph = Callable[..., ir.Model]
RNG = np.random.default_rng(5)
X = RNG.normal(size=(96, 6)).astype(np.float32)
Y = np.tanh(X @ RNG.normal(size=(6, 3)).astype(np.float32))

LINEAR = (
    "(float[batch, 6] x) => (float[batch, 3] y)",
    "[first] a = Gemm (x, w1, b1) [bent] r = Tanh (a) [second] y = MatMul (r, w2)",
)
TWO = (
    "(float[batch, 4] left, float[batch, 4] right)"
    " => (float[batch, 4] sum, float[batch, 4] difference)",
    "l = MatMul (left, w) r = MatMul (right, w) sum = Add (l, r) difference = Sub (l, r)",
)


def _weights() -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(1)
    shapes = {"w1": (6, 8), "b1": (8,), "w2": (8, 3)}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def linear(graph: Graph) -> ir.Model:
    return graph(*LINEAR, **_weights())


@pytest.fixture
def two(graph: Graph) -> ir.Model:
    return graph(*TWO, w=RNG.normal(size=(4, 4)).astype(np.float32))


def _compiled(keras: Any, model: ir.Model) -> GraphModel:
    found = GraphModel(model)
    found.compile(keras.optimizers.Adam(0.02), "mse")
    return found


def _run(model: ir.Model | Path, **feed: Any) -> dict[str, Any]:
    with OrtRuntime(model, threads=1) as runtime:
        return runtime.run(feed)


def test_fitting_lowers_the_loss_and_the_file_computes_what_was_fitted(
    keras: Any, linear: ir.Model, tmp_path: Path
) -> None:
    model = _compiled(keras, linear)
    before = model.evaluate(X, Y, verbose=0)
    np.testing.assert_allclose(model.predict(X, verbose=0), _run(linear, x=X)["y"], atol=1e-5)
    model.fit(X, Y, epochs=20, verbose=0)
    assert model.evaluate(X, Y, verbose=0) < 0.2 * before
    model.to_onnx(tmp_path / "trained.onnx")
    written = load_model(tmp_path / "trained.onnx")
    np.testing.assert_allclose(_run(written, x=X)["y"], model.predict(X, verbose=0), atol=1e-5)
    assert [node.name for node in written.graph] == [node.name for node in linear.graph]
    assert set(written.graph.initializers) == set(linear.graph.initializers)
    with pytest.raises(DataError, match=r"trained\.onnx"):
        model.to_onnx(tmp_path / "trained.onnx")
    model.to_onnx(tmp_path / "trained.onnx", force=True)


def test_a_saved_model_predicts_the_same_and_holds_its_weights_once(
    keras: Any, linear: ir.Model, tmp_path: Path
) -> None:
    model = _compiled(keras, linear)
    model.fit(X, Y, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    rebuilt = GraphModel.from_config(model.get_config())
    assert not any(np.any(weight) for weight in rebuilt.get_weights())
    loaded.fit(X, Y, epochs=1, verbose=0)
    for name, value in loaded.graph().graph.initializers.items():
        assert value.const_value.numpy().shape == linear.graph.initializers[name].shape, name


def test_callbacks_stop_and_keep_the_best(keras: Any, linear: ir.Model, tmp_path: Path) -> None:
    model = _compiled(keras, linear)
    stop = keras.callbacks.EarlyStopping(patience=0, min_delta=1e9, restore_best_weights=True)
    best = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True)
    history = model.fit(X, Y, epochs=9, validation_split=0.25, verbose=0, callbacks=[stop, best])
    assert len(history.epoch) == 2
    assert (tmp_path / "best.keras").stat().st_size > 0


def test_inputs_come_as_a_list_or_by_name_and_outputs_by_name(keras: Any, two: ir.Model) -> None:
    left, right = (RNG.normal(size=(8, 4)).astype(np.float32) for _ in range(2))
    model = _compiled(keras, two)
    expected = _run(two, left=left, right=right)
    for inputs in ([left, right], {"right": right, "left": left}):
        found = model.predict(inputs, verbose=0)
        assert set(found) == {"sum", "difference"}
        for name, value in found.items():
            np.testing.assert_allclose(value, expected[name], atol=1e-5)
    model.compile("sgd", loss={"sum": "mse", "difference": "mse"})
    history = model.fit(
        {"left": left, "right": right}, {n: 0 * v for n, v in expected.items()}, verbose=0
    )
    assert np.isfinite(history.history["loss"]).all()


def test_tied_weights_stay_tied(keras: Any, two: ir.Model) -> None:
    model = _compiled(keras, two)
    assert len(model.trainable_variables) == 1
    left, right = (RNG.normal(size=(8, 4)).astype(np.float32) for _ in range(2))
    model.compile("sgd", loss={"sum": "mse", "difference": "mse"})
    model.fit([left, right], {"sum": left, "difference": right}, verbose=0)
    (weight,) = model.graph().graph.initializers.values()
    np.testing.assert_array_equal(weight.const_value.numpy(), model.get_weights()[0])
    assert len(weight.uses()) == 2


def test_wrong_inputs_are_told(keras: Any, two: ir.Model) -> None:
    model = _compiled(keras, two)
    left = np.zeros((2, 4), np.float32)
    with pytest.raises(DataError, match="'right' is missing: the model takes left: float32"):
        model.predict({"left": left}, verbose=0)
    with pytest.raises(DataError, match="takes 2 inputs"):
        model.predict([left], verbose=0)
    with pytest.raises(DataError, match=r"'right' has the shape \[2, 5\]"):
        model({"left": left, "right": np.zeros((2, 5), np.float32)})


def test_a_graph_without_weights_is_refused(graph: Graph) -> None:
    with pytest.raises(ModelError, match="no weights that can be trained"):
        GraphModel(graph("(float[2] x) => (float[2] y)", "y = Relu (x)"))


def test_a_damaged_configuration_is_told(keras: Any, linear: ir.Model) -> None:
    config = _compiled(keras, linear).get_config()
    with pytest.raises(ModelError, match="cannot be read"):
        GraphModel.from_config({**config, "graph": config["graph"][:-8]})
