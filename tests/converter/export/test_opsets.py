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
        (None, "1.2", "oldest release"),
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


def test_an_unknown_layout_is_refused(digits_model: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no layout 'hwcn'"):
        convert(digits_model, tmp_path / "m.onnx", layout="hwcn")  # type: ignore[arg-type]
