"""What is wrong with data and labels is said before a model is exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter import compress
from converter.export import reference
from runtimes.errors import DataError


@pytest.fixture
def never_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    def export(*_: Any) -> None:
        raise AssertionError("the model was exported")

    monkeypatch.setattr(reference, "export_to", export)


def changed(samples: Any, **arrays: Any) -> Any:
    found = {**{name: np.asarray(array) for name, array in samples.items()}, **arrays}
    return {name: array for name, array in found.items() if array.ndim}


@pytest.mark.usefixtures("never_exported")
@pytest.mark.parametrize(
    ("metric", "arrays", "message"),
    [
        ("top1", {"labels": np.array(0)}, "needs labels"),
        ("top1", {"labels": np.full(64, 10)}, "must be a class index from 0 to 9"),
        ("mae", {"labels": np.zeros((64, 3))}, r"labels of shape \[64, 3\] do not fit the output"),
        ("top1:speed", {}, "names the output 'speed'"),
        ("ssim", {"labels": np.zeros((64, 10))}, "ssim compares pictures"),
        (None, {"image": np.zeros((64, 3, 3, 1), np.float32)}, "expects samples of shape"),
        (None, {"image": np.full((64, 16, 16, 1), "a")}, "expects float32, found text"),
        (None, {"labels:speed": np.zeros(64, int), "labels": np.array(0)}, ""),
    ],
)
def test_data_that_do_not_fit_stop_it_before_the_export(
    metric: str | None, arrays: Any, message: str, digits_model: Any, digits: Any, tmp_path: Path
) -> None:
    samples = {name: np.asarray(array)[:64] for name, array in digits[1].items()}
    data = changed(samples, **arrays)
    if not message:  # without a metric the model has to be asked
        metric, message = "top1", "belong to no output"
    with pytest.raises(DataError, match=message):
        compress(digits_model, tmp_path / "out", data, metric=metric)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("never_exported")
def test_data_that_fit_are_not_stopped(digits_model: Any, digits: Any, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="the model was exported"):
        compress(digits_model, tmp_path / "out", digits[0], evaluate_on=digits[1], metric="acc")
