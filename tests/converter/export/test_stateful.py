"""Models that remember: exported as they were given, or with their state as inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from converter import convert
from runtimes import open_runtime
from runtimes.errors import ConversionError

Make = Callable[[Any], Any]

LAYERS: dict[str, tuple[Make, list[str]]] = {
    "GRU": (lambda layers: layers.GRU(3, stateful=True), ["h"]),
    "LSTM": (lambda layers: layers.LSTM(3, stateful=True, return_sequences=True), ["h", "c"]),
    "SimpleRNN": (lambda layers: layers.SimpleRNN(3, stateful=True), ["h"]),
    "Bidirectional": (
        lambda layers: layers.Bidirectional(layers.LSTM(3, name="lstm", stateful=True)),
        ["forward_lstm/h", "forward_lstm/c", "backward_lstm/h", "backward_lstm/c"],
    ),
    "stacked cells": (
        lambda layers: layers.RNN([layers.GRUCell(3), layers.LSTMCell(4)], stateful=True),
        ["state_0", "state_1", "state_2"],
    ),
}


def chunk(seed: int, steps: int = 6) -> Any:
    return np.random.default_rng(seed).standard_normal((4, steps, 3)).astype(np.float32)


def model_of(keras: Any, make: Make, steps: int | None = None) -> Any:
    """A model in the middle of a stream: its state is not zero."""
    keras.utils.set_random_seed(0)
    x = keras.Input(batch_shape=(4, steps, 3), name="x")
    layer = make(keras.layers)
    model = keras.Model(x, layer(x))
    layer.name = "memory"
    model(chunk(0))
    return model


def session_of(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of every input that has a default
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@pytest.mark.sweep(4)
@pytest.mark.parametrize("make", [make for make, _ in LAYERS.values()], ids=LAYERS)
def test_the_file_starts_from_the_state_that_was_given(
    make: Make, keras: Any, tmp_path: Path
) -> None:
    model = model_of(keras, make, steps=6)
    report = convert(model, tmp_path / "m.onnx")
    assert any("memory/" in note and "--stateful" in note for note in report.notes)
    session = session_of(tmp_path / "m.onnx")
    found = session.run(None, {"x": chunk(1)})[0]
    np.testing.assert_array_equal(session.run(None, {"x": chunk(1)})[0], found)
    np.testing.assert_allclose(found, model(chunk(1)), atol=1e-5)


@pytest.mark.sweep(4)
@pytest.mark.parametrize(("make", "parts"), LAYERS.values(), ids=LAYERS)
def test_states_go_in_and_come_out(
    make: Make, parts: list[str], keras: Any, tmp_path: Path
) -> None:
    model = model_of(keras, make)
    report = convert(model, tmp_path / "m.onnx", stateful=True)
    names = [f"memory/{part}" for part in parts]
    assert {proof.sizes.get("chunk") for proof in report.proofs} == {None, 1, 2}
    session = session_of(tmp_path / "m.onnx")
    assert [value.name for value in session.get_inputs()] == ["x"]
    assert [value.name for value in session.get_overridable_initializers()] == names
    state: dict[str, Any] = {}
    for seed in (1, 2, 3):
        found = session.run(None, {"x": chunk(seed), **state})
        np.testing.assert_allclose(found[0], model(chunk(seed)), atol=1e-5)
        state = dict(zip(names, found[1:], strict=True))
    assert [o.name for o in session.get_outputs()[1:]] == [f"{name}_next" for name in names]


def test_a_stream_in_pieces_is_the_whole_stream(keras: Any, tmp_path: Path) -> None:
    make, _ = LAYERS["LSTM"]
    convert(model_of(keras, make), tmp_path / "m.onnx", stateful=True)
    with open_runtime(tmp_path / "m.onnx") as runtime:
        name = runtime.outputs[0].name
        whole = runtime.run({"x": np.concatenate([chunk(1), chunk(2, 3)], axis=1)})
        first = runtime.run({"x": chunk(1)})
        kept = {name.removesuffix("_next"): first[name] for name in first if "_next" in name}
        second = runtime.run({"x": chunk(2, 3), **kept})
    pieces = np.concatenate([first[name], second[name]], axis=1)
    np.testing.assert_allclose(pieces, whole[name], atol=1e-6)


def test_whatever_a_layer_writes_to_is_a_state(keras: Any, tmp_path: Path) -> None:
    class Average(keras.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.mean = self.add_weight(shape=(shape[-1],), name="mean", trainable=False)

        def call(self, x: Any) -> Any:
            self.mean.assign(0.9 * self.mean + 0.1 * keras.ops.mean(x, axis=0))
            return x - self.mean

    x = keras.Input((3,), name="x")
    model = keras.Model(x, Average(name="average")(x))
    report = convert(model, tmp_path / "m.onnx", stateful=True)
    assert "average/mean_next: float32[3]" in report.outputs
    session, state = session_of(tmp_path / "m.onnx"), {}
    for seed in (1, 2):
        samples = chunk(seed)[:, 0]
        found, mean = session.run(None, {"x": samples, **state})
        np.testing.assert_allclose(found, model(samples), atol=1e-6)
        state = {"average/mean": mean}


def test_nested_models_name_their_states_by_the_path(keras: Any, tmp_path: Path) -> None:
    inner = keras.Input(batch_shape=(2, 4, 3))
    gru = keras.layers.GRU(2, stateful=True, name="gru")
    nested = keras.Model(inner, gru(inner), name="nested")
    x = keras.Input(batch_shape=(2, 4, 3), name="x")
    convert(keras.Model(x, nested(x)), tmp_path / "m.onnx", stateful=True)
    inputs = [value.name for value in onnx.load(tmp_path / "m.onnx").graph.input]
    assert inputs == ["x", "nested/gru/h"]


def test_a_wrong_next_state_is_found(
    keras: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from converter.export import convert as conversion

    original = conversion.export

    def forgetful(*arguments: Any, **options: Any) -> Any:
        graph = original(*arguments, **options)
        state = next(value for value in graph.graph.inputs if value.name == "memory/h")
        for node, index in list(state.uses()):  # the default for ever
            value = graph.graph.initializers[state.name].const_value
            fixed = ir.Value(name="fixed", const_value=value)
            graph.graph.initializers.setdefault("fixed", fixed)
            node.replace_input_with(index, graph.graph.initializers["fixed"])
        return graph

    monkeypatch.setattr(conversion, "export", forgetful)
    make, _ = LAYERS["GRU"]
    with pytest.raises(ConversionError, match="chunk 2"):
        convert(model_of(keras, make), tmp_path / "m.onnx", stateful=True)
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_state_is_refused(keras: Any, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4, 3)), keras.layers.GRU(2)])
    with pytest.raises(ConversionError, match="leave --stateful out"):
        convert(model, tmp_path / "m.onnx", stateful=True)


def test_state_that_keras_does_not_know_is_refused(keras: Any, tmp_path: Path) -> None:
    import tensorflow as tf

    class Counter(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.count = tf.Variable(0.0, name="calls")

        def call(self, x: Any) -> Any:
            self.count.assign_add(1.0)
            return x * self.count

    x = keras.Input((3,), name="x")
    model = keras.Model(x, Counter()(x))
    with pytest.raises(ConversionError, match=r"calls.*add_weight"):
        convert(model, tmp_path / "m.onnx", stateful=True)
    with pytest.raises(ConversionError, match="writes to its variable"):
        convert(model, tmp_path / "m.onnx")
