"""Opsets for a runtime, and inputs in the caller's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from converter import convert
from converter.export.opsets import choose_opset
from runtimes.errors import DataError
from runtimes.onnx_graph.opset import newest_opset, oldest_ir_version


@pytest.mark.parametrize(
    ("opset", "target", "expected"),
    [
        (None, None, 18),
        (15, None, 15),
        (None, "1.16", 18),
        (None, "1.12.1", 17),
        (None, "1.10", 15),
        (None, "1.99", 18),
        (19, "1.16", 19),
    ],
)
def test_the_opset_suits_the_target(opset: int | None, target: str | None, expected: int) -> None:
    assert choose_opset(opset, target) == expected


@pytest.mark.parametrize(
    ("opset", "target", "message"),
    [
        (12, None, "out of range"),
        (99, None, "out of range"),
        (20, "1.16", "up to 19"),
        (None, "new", "not a release"),
        (None, "1.2", "oldest possible release"),
    ],
)
def test_what_cannot_be_aimed_at(opset: int | None, target: str | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        choose_opset(opset, target)


@pytest.mark.parametrize("opset", [13, 15, 17, 19, 21, newest_opset() - 2])
def test_every_opset_is_written_and_proven(opset: int, digits_model: Any, tmp_path: Path) -> None:
    convert(digits_model, tmp_path / "m.onnx", opset=opset)
    model = onnx.load(tmp_path / "m.onnx")
    assert model.opset_import[0].version == opset
    assert model.ir_version == oldest_ir_version(opset)
    assert any(node.metadata_props for node in model.graph.node)


def test_channels_first_inputs_need_no_transpose(
    digits_model: Any, digits: Any, tmp_path: Path
) -> None:
    report = convert(digits_model, tmp_path / "m.onnx", layout="nchw")
    assert report.inputs == ("image: float32[batch, 1, 16, 16]",)
    assert "Transpose" not in [node.op_type for node in ir.load(tmp_path / "m.onnx").graph]
    images = digits[1]["image"][:4]
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (scores,) = session.run(None, {"image": images.transpose(0, 3, 1, 2)})
    np.testing.assert_allclose(scores, digits_model.predict(images, verbose=0), atol=1e-4)


def test_the_turned_axes_are_the_right_ones(keras: Any, tmp_path: Path) -> None:
    """Height, width and channels all differ, so that a wrong permutation shows."""
    model = keras.Sequential(
        [keras.Input((9, 7, 3), name="x"), keras.layers.Conv2D(4, (3, 2)), keras.layers.Flatten()]
    )
    convert(model, tmp_path / "m.onnx", layout="nchw")
    x = np.random.default_rng(0).standard_normal((2, 9, 7, 3)).astype(np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (got,) = session.run(None, {"x": x.transpose(0, 3, 1, 2)})
    np.testing.assert_allclose(got, model(x), atol=1e-5)


def test_images_that_are_channels_first_already_stay(keras: Any, tmp_path: Path) -> None:
    """One input of each kind, the first behind a nested model."""
    layers = keras.layers
    inner_input = keras.Input((3, 8, 6))
    doubled = layers.UpSampling2D(data_format="channels_first")(inner_input * 2.0)
    inner = keras.Model(inner_input, doubled)
    first, last = keras.Input((3, 8, 6), name="first"), keras.Input((8, 6, 3), name="last")
    pooled = layers.GlobalAveragePooling2D(data_format="channels_first")(inner(first))
    model = keras.Model([first, last], [pooled, layers.GlobalAveragePooling2D()(last)])
    report = convert(model, tmp_path / "m.onnx", layout="nchw")
    assert report.inputs == ("first: float32[batch, 3, 8, 6]", "last: float32[batch, 3, 8, 6]")
    assert [note for note in report.notes if "already expect channels first" in note] == [
        "the input 'first' stays as it is: the layers that read it already expect channels first"
    ]


def test_a_subclassed_model_of_channels_first_stays(keras: Any, tmp_path: Path) -> None:
    class Pool(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.pool = keras.layers.GlobalMaxPooling2D(data_format="channels_first")

        def call(self, x: Any) -> Any:
            return self.pool(x)

    model = Pool()
    model(np.zeros((2, 3, 8, 6), np.float32))
    report = convert(model, tmp_path / "m.onnx", layout="nchw")
    assert report.inputs[0].endswith("float32[batch, 3, 8, 6]")


def test_an_unknown_layout_is_refused(digits_model: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no layout 'hwcn'"):
        convert(digits_model, tmp_path / "m.onnx", layout="hwcn")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("opset", "release", "target", "expected"),
    [
        (None, None, "onnxruntime", 18),
        (None, None, "mnn", 18),
        (None, None, "reference", 19),
        (17, None, "reference", 17),
        (None, "1.12", "onnxruntime-web", 17),
    ],
)
def test_the_opset_suits_the_runtime(
    opset: int | None, release: str | None, target: str, expected: int
) -> None:
    assert choose_opset(opset, release, target) == expected


def test_an_opset_that_the_target_does_not_open_is_refused() -> None:
    with pytest.raises(DataError, match="the target 'mnn' opens opsets up to 18, but --opset asks"):
        choose_opset(19, None, "mnn")


def test_a_release_of_onnx_runtime_binds_no_other_runtime() -> None:
    with pytest.raises(DataError, match=r"--target-ort 1\.16 is a release of ONNX Runtime"):
        choose_opset(None, "1.16", "tract")
