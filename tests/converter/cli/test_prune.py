"""``prune`` as a whole: a smaller model inside the budget with the same interface, or the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from converter import convert, prune
from runtimes.errors import DataError

Kilnx = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def onnx_file(digits_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prune") / "model.onnx"
    convert(digits_model, path)
    return path


def accuracy(path: Path, samples: dict[str, Any]) -> float:
    (scores,) = onnxruntime.InferenceSession(path).run(None, {"image": samples["image"]})
    return float(np.mean(np.argmax(scores, axis=1) == samples["labels"]))


def test_fewer_operations_inside_the_budget(onnx_file: Path, digits: Any, tmp_path: Path) -> None:
    train, test = digits
    report = prune(
        onnx_file,
        tmp_path / "p.onnx",
        train,
        evaluate_on=test,
        metric="top1",
        max_drop=0.03,
        flops=0.7,
    )
    before, after = accuracy(onnx_file, test), accuracy(tmp_path / "p.onnx", test)
    assert before - after <= 0.03 + 1e-9
    sizes = [path.stat().st_size for path in (onnx_file, tmp_path / "p.onnx")]
    assert (sizes[1] < sizes[0]) == report.kept
    assert report.reason


def test_without_data_only_what_changes_nothing(
    onnx_file: Path, digits: Any, tmp_path: Path
) -> None:
    prune(onnx_file, tmp_path / "p.onnx")
    images = {"image": digits[1]["image"][:16]}
    results = [
        onnxruntime.InferenceSession(path).run(None, images)[0]
        for path in (onnx_file, tmp_path / "p.onnx")
    ]
    np.testing.assert_allclose(results[0], results[1], rtol=1e-4, atol=1e-4)


def test_an_existing_file_is_left_alone(onnx_file: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.onnx"
    mine.write_text("precious")
    with pytest.raises(DataError, match="--force"):
        prune(onnx_file, mine)
    assert mine.read_text() == "precious"


def test_the_command_speaks(kilnx: Kilnx, onnx_file: Path, tmp_path: Path) -> None:
    code, out, err = kilnx("prune", onnx_file, "-o", tmp_path / "p.onnx")
    assert code == 0, err
    assert "p.onnx" in out
