"""A quantized model of class scores whose input has a range, its float original, and samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monitor_models import FLOAT, QUANTIZED, samples, written

Array = np.ndarray[Any, np.dtype[Any]]


@pytest.fixture
def quantized(tmp_path: Path) -> Path:
    """The file that serves."""
    return written(tmp_path / "model.onnx", QUANTIZED.format(opset=18))


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """The file that it was made from."""
    return written(tmp_path / "fp32.onnx", FLOAT)


@pytest.fixture
def held_out() -> dict[str, Array]:
    """Labelled samples: the label is the largest column."""
    x = samples(600)
    return {"x": x, "labels": x.argmax(axis=1)}
