"""Small graphs for the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from quantizer_fixtures import graph  # noqa: F401

WIDE = (64, 48)
"""Inputs and hidden units that take long enough to be measured."""


@pytest.fixture
def model(graph: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Path:  # noqa: F811
    """A file of two products of matrices, next to ``data.npz``; a module's ``SIZES`` are its."""
    inputs, hidden = getattr(request.module, "SIZES", WIDE)
    rng = np.random.default_rng(0)
    made = graph(
        f"g (float[N, {inputs}] x, float[{inputs}, {hidden}] w, float[{hidden}, 4] v) => "
        "(float[N, 4] y) { h = MatMul (x, w)  r = Relu (h)  y = MatMul (r, v) }",
        {
            "w": rng.standard_normal((inputs, hidden)).astype(np.float32),
            "v": rng.standard_normal((hidden, 4)).astype(np.float32),
        },
    )
    path = tmp_path / "model.onnx"
    ir.save(made, path)
    np.savez(tmp_path / "data.npz", x=rng.standard_normal((64, inputs)).astype(np.float32))
    return path
