"""Small ONNX graphs from text, for the tests of the runtimes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

HEADER = '<ir_version: 10, opset_import: ["" : 18, "local" : 1]>\n'


@pytest.fixture
def graph() -> Callable[[str], ir.Model]:
    """Turn the text of a graph into a model."""

    def make(text: str) -> ir.Model:
        return ir.from_proto(onnx.parser.parse_model(HEADER + text))

    return make


@pytest.fixture
def scaled(graph: Callable[[str], ir.Model]) -> Callable[[float], ir.Model]:
    """A model of class scores that multiplies its input by a number."""

    def make(factor: float) -> ir.Model:
        return graph(
            f"scaled (float[batch, 4] x) => (float[batch, 4] y) <float factor = {{{factor}}}>"
            "{ y = Mul(x, factor) }"
        )

    return make


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[ir.Model, str], Path]:
    """Write a model beside the test's other files."""

    def save(model: ir.Model, name: str = "model.onnx") -> Path:
        ir.save(model, tmp_path / name)
        return tmp_path / name

    return save


@pytest.fixture
def scores() -> np.ndarray:
    """Forty samples of four class scores, well apart."""
    rng = np.random.default_rng(0)
    return rng.permuted(np.tile(np.float32([-3, -1, 1, 4]), (40, 1)), axis=1)
