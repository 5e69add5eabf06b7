"""Signatures: read from the model, or stated by the user for a model that has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from converter import convert
from converter.export.sources import parse_signature
from runtimes.errors import ConversionError, DataError


def dims(path: Path) -> list[list[Any]]:
    return [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in onnx.load(path).graph.input
    ]


def run(path: Path, **feed: Any) -> Any:
    return onnxruntime.InferenceSession(path).run(None, feed)[0]


def convolutional(keras: Any) -> Any:
    class Convolutional(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="convolutional")
            self.conv = keras.layers.Conv2D(4, 3, strides=2, activation="relu")
            self.pool = keras.layers.GlobalAveragePooling2D()
            self.dense = keras.layers.Dense(3)

        def call(self, x: Any) -> Any:
            return self.dense(self.pool(self.conv(x)))

    return Convolutional()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x=?,224,224,3:float32", ("x", ((None, 224, 224, 3), "float32"))),
        ("tokens=batch,16:int32", ("tokens", ((None, 16), "int32"))),
        ("x=1,4", ("x", ((1, 4), "float32"))),
    ],
)
def test_signatures_are_parsed(text: str, expected: Any) -> None:
    assert parse_signature(text) == expected


@pytest.mark.parametrize("text", ["", "x", "=1,2", "x=1,2:"])
def test_a_signature_that_does_not_read(text: str) -> None:
    with pytest.raises(DataError, match="is not of the form name=1,224"):
        parse_signature(text)


def test_a_model_without_inputs_asks_for_a_signature(keras: Any, tmp_path: Path) -> None:
    for model in (keras.Sequential([keras.layers.Dense(2)]), convolutional(keras)):
        with pytest.raises(ConversionError, match="--signature"):
            convert(model, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_unbuilt_sequential_model_with_a_signature(keras: Any, tmp_path: Path) -> None:
    model = keras.Sequential([keras.layers.Dense(5, activation="relu"), keras.layers.Dense(2)])
    convert(model, tmp_path / "m.onnx", signature={"x": ((None, 7), "float32")})
    assert dims(tmp_path / "m.onnx") == [["batch", 7]]
    x = np.random.default_rng(0).standard_normal((3, 7)).astype(np.float32)
    np.testing.assert_allclose(run(tmp_path / "m.onnx", x=x), model(x), atol=1e-5)


def test_a_subclassed_model_keeps_dynamic_spatial_size(keras: Any, tmp_path: Path) -> None:
    model = convolutional(keras)
    convert(model, tmp_path / "m.onnx", signature={"image": ((None, None, None, 2), "float32")})
    assert dims(tmp_path / "m.onnx") == [["batch", "height", "width", 2]]
    for shape in ((1, 9, 12, 2), (3, 31, 17, 2)):
        image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        np.testing.assert_allclose(run(tmp_path / "m.onnx", image=image), model(image), atol=1e-5)


def test_a_subclassed_model_that_was_called_says_whose_shapes_it_has(
    keras: Any, tmp_path: Path
) -> None:
    model = convolutional(keras)
    model(np.zeros((1, 8, 8, 2), np.float32))
    report = convert(model, tmp_path / "m.onnx")
    assert dims(tmp_path / "m.onnx")[0][1:] == [8, 8, 2]
    assert any("first call" in note for note in report.notes)
    report = convert(
        model, tmp_path / "d.onnx", signature={"x": ((None, None, None, 2), "float32")}
    )
    assert dims(tmp_path / "d.onnx") == [["batch", "height", "width", 2]]
    assert report.notes == ()


def test_arguments_of_a_subclassed_call_become_inputs(keras: Any, tmp_path: Path) -> None:
    class Two(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, left: Any, right: Any) -> Any:
            return self.dense(left) - right

    spec = {"left": ((None, 4), "float32"), "right": ((None, 3), "float32")}
    model = Two()
    convert(model, tmp_path / "two.onnx", signature=spec)
    left, right = np.ones((2, 4), np.float32), np.full((2, 3), 0.5, np.float32)
    np.testing.assert_allclose(
        run(tmp_path / "two.onnx", left=left, right=right), model(left, right), atol=1e-5
    )


def test_a_signature_can_fix_what_is_dynamic(keras: Any, tmp_path: Path) -> None:
    model = keras.Sequential(
        [keras.Input((None, None, 2), name="image"), keras.layers.Conv2D(3, 3)]
    )
    convert(model, tmp_path / "m.onnx", signature={"image": ((1, 16, 20, 2), "float32")})
    assert dims(tmp_path / "m.onnx") == [[1, 16, 20, 2]]


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        ({"image": ((None, 9, 8, 2), "float32")}, "does not fit"),
        ({"image": ((None, 8, 8), "float32")}, "does not fit"),
        ({"a": ((None, 8), "float32"), "b": ((None, 8), "float32")}, "the signature names"),
    ],
)
def test_a_signature_that_does_not_fit(
    signature: Any, message: str, keras: Any, tmp_path: Path
) -> None:
    model = keras.Sequential([keras.Input((8, 8, 2), name="image"), keras.layers.Conv2D(3, 3)])
    with pytest.raises(DataError, match=message):
        convert(model, tmp_path / "m.onnx", signature=signature)
    assert list(tmp_path.iterdir()) == []


def test_nested_and_shared_layers(keras: Any, tmp_path: Path) -> None:
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, activation="tanh")])
    inputs = keras.Input((4,), name="x")
    model = keras.Model(inputs, keras.layers.Dense(2)(inner(inner(inputs))))
    convert(model, tmp_path / "m.onnx")
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    np.testing.assert_allclose(run(tmp_path / "m.onnx", x=x), model(x), atol=1e-5)
