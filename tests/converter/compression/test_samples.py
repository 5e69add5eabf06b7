"""Data are split once, and labels that judge nothing are told before anything is changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from converter.compression.samples import open_samples, resolve_budget
from runtimes.base import TensorSpec
from runtimes.data.dataset import Dataset
from runtimes.errors import DataError
from runtimes.parity.budget import Budget

INPUTS = (TensorSpec("x", np.dtype(np.float32), ("batch", 2)),)
MODEL = ir.from_onnx_text(
    '<ir_version: 8, opset_import: ["" : 17]>'
    "g (float[batch, 2] x) => (float[batch, 5] y)"
    "<float[2, 5] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 0}> { y = MatMul(x, w) }"
)


def data(labels: Any) -> dict[str, Any]:
    return {"x": np.zeros((len(labels), 2), np.float32), "labels": np.asarray(labels)}


def test_one_set_of_data_is_split_and_two_are_not() -> None:
    samples = open_samples(data(range(10)), None, INPUTS, 0)
    assert samples.calibration.num_samples == samples.evaluation.num_samples == 5
    assert "5 samples calibrate, 5 others evaluate (seed 0)" in samples.notes[0]
    samples = open_samples(data(range(10)), data(range(4)), INPUTS, 0)
    assert (samples.calibration.num_samples, samples.evaluation.num_samples) == (10, 4)


def test_labels_that_name_no_class_are_refused() -> None:
    evaluation = Dataset.open(data([True, False] * 8), inputs=INPUTS)
    with pytest.raises(DataError, match="the labels are booleans, and the output has 5 classes"):
        resolve_budget(MODEL, evaluation, Budget("top1"))
    with pytest.raises(DataError, match="the labels are booleans, and the output has 5 classes"):
        resolve_budget(MODEL, evaluation, Budget())
    resolve_budget(MODEL, None, Budget("top1"))


def test_a_model_that_knows_nothing_is_doubted() -> None:
    evaluation = Dataset.open(data([0] * 80 + [1, 2, 3, 4] * 5), inputs=INPUTS)
    _, labels = resolve_budget(MODEL, evaluation, Budget("top1"))
    (doubt,) = labels.doubts(0.1)
    assert "top1 is 0.1 before anything is changed" in doubt
    assert labels.doubts(0.95) == ()
    unlabelled = Dataset.open({"x": np.zeros((9, 2), np.float32)}, inputs=INPUTS)
    budget, labels = resolve_budget(MODEL, unlabelled, Budget())
    assert (budget.metric, labels.doubts(None)) == (None, ())
