"""Python control flow on tensors inside layers: that of a graph, at every length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from converter import convert
from runtimes.errors import ConversionError


def assert_right_at(model: Any, path: Path, *lengths: int, place: int = 0) -> None:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for length in lengths:
        steps = np.random.default_rng(length).standard_normal((2, length, 3)).astype(np.float32)
        expected = np.asarray(model(steps, training=False))
        np.testing.assert_allclose(session.run(None, {name: steps})[place], expected, atol=1e-5)


def decayed(steps: Any, count: Any) -> Any:
    total = steps[:, 0]
    for step in range(count):
        total = 0.5 * total + steps[:, step]
    return total


def test_a_loop_over_the_steps_inside_two_layers(keras: Any, tmp_path: Path) -> None:
    class Decay(keras.layers.Layer):
        def call(self, steps: Any) -> Any:
            return decayed(steps, keras.ops.shape(steps)[1])

        def compute_output_shape(self, shape: Any) -> Any:
            return (shape[0], shape[2])

    class Outer(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.decay = Decay()
            self.dense = keras.layers.Dense(3)

        def build(self, shape: Any) -> None:
            self.dense.build((None, shape[2]))

        def call(self, steps: Any) -> Any:
            return self.dense(self.decay(steps))

        def compute_output_shape(self, shape: Any) -> Any:
            return (shape[0], 3)

    inputs = keras.Input((None, 3), name="steps")
    model = keras.Model(inputs, Outer()(inputs))
    convert(model, tmp_path / "model.onnx")
    assert_right_at(model, tmp_path / "model.onnx", 1, 4, 9)
    layer = model.layers[-1]
    assert "call" not in vars(layer)
    assert "call" not in vars(layer.decay)


def test_a_branch_on_the_length(keras: Any, tmp_path: Path) -> None:
    class Padded(keras.layers.Layer):
        def call(self, steps: Any) -> Any:
            missing = (4 - keras.ops.shape(steps)[1] % 4) % 4
            if missing > 0:
                steps = keras.ops.pad(steps, [[0, 0], [0, missing], [0, 0]])
            return keras.ops.sum(keras.ops.reshape(steps, (-1, 4, 3)), axis=0, keepdims=True)

        def compute_output_shape(self, shape: Any) -> Any:
            return (1, 4, 3)

    inputs = keras.Input((None, 3), name="steps")
    model = keras.Model(inputs, Padded()(inputs))
    convert(model, tmp_path / "model.onnx")
    assert_right_at(model, tmp_path / "model.onnx", 4, 5, 11)


def test_a_list_that_grows_in_the_loop_is_stacked_or_put_in_a_row(
    keras: Any, tmp_path: Path
) -> None:
    class Collected(keras.layers.Layer):
        def call(self, steps: Any) -> Any:
            state = keras.ops.zeros_like(steps[:, 0])
            states, rows = [], [steps[:, :1]]
            for step in range(keras.ops.shape(steps)[1]):
                state = 0.5 * state + steps[:, step]
                states.append(state)
                rows.append(keras.ops.expand_dims(state, 1))
            rows = keras.ops.concatenate(rows, axis=1)
            return keras.ops.stack(states, axis=-1), keras.ops.sum(rows, axis=2)

        def compute_output_shape(self, shape: Any) -> Any:
            return (shape[0], shape[2], shape[1]), (shape[0], None)

    inputs = keras.Input((None, 3), name="steps")
    model = keras.Model(inputs, Collected()(inputs))
    convert(model, tmp_path / "model.onnx")
    for place in (0, 1):
        one = keras.Model(inputs, model.outputs[place])
        assert_right_at(one, tmp_path / "model.onnx", 1, 4, 9, place=place)
    assert keras.ops.stack([1.0, 2.0]).shape == (2,)


def test_what_cannot_be_a_graph_is_refused_with_its_reason(keras: Any, tmp_path: Path) -> None:
    class Counted(keras.layers.Layer):
        def call(self, steps: Any) -> Any:
            found = []
            for step in range(keras.ops.shape(steps)[1]):
                found.append(steps[:, step])
            return found[-1] + len(found)

        def compute_output_shape(self, shape: Any) -> Any:
            return (shape[0], shape[2])

    inputs = keras.Input((None, 3), name="steps")
    model = keras.Model(inputs, Counted()(inputs))
    with pytest.raises(
        ConversionError, match=r"cannot be called on(.|\n)*--signature steps=batch,128,3:float32"
    ):
        convert(model, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
