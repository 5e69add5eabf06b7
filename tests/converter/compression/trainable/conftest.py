"""A small network of digits as a file, made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from converter import convert


@pytest.fixture(scope="session")
def digits_onnx(digits_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported network of digits; not to be written to."""
    path = tmp_path_factory.mktemp("trainable") / "digits.onnx"
    convert(digits_model, path)
    return path
