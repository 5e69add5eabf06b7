"""A quantized model of class scores whose input has a range, its float original, and samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

Array = np.ndarray[Any, np.dtype[Any]]

# 0 to 2 in 255 steps; what is larger comes out as 2.
QUANTIZED = """<ir_version: 8, opset_import: ["": {opset}]>
net (float[N, 4] x) => (float[N, 4] y)
<float scale = {{0.00784313725}}, uint8 zero = {{0}}> {{
    q = QuantizeLinear(x, scale, zero)
    d = DequantizeLinear(q, scale, zero)
    r = Relu(d)
    y = Identity(r)
}}"""
FLOAT = """<ir_version: 8, opset_import: ["": 18]>
net (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }"""


def written(path: Path, text: str) -> Path:
    ir.save(ir.from_proto(onnx.parser.parse_model(text)), path)
    return path


def samples(count: int, seed: int = 0) -> Array:
    """Values between 0 and 1.8, all four columns alike."""
    return np.random.default_rng(seed).uniform(0, 1.8, (count, 4)).astype(np.float32)


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
