"""Small ONNX graphs from text, and files of Keras 2, for the tests of the runtimes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
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


@pytest.fixture
def keras2_hdf5(tmp_path: Path) -> Callable[..., Path]:
    """Write a model, or with ``config=None`` its weights, into HDF5 as Keras 2 did."""

    def write(
        config: dict[str, Any] | None,
        weights: dict[str, dict[str, Any]],
        *,
        name: str = "model.h5",
        version: str | None = "2.2.4",
        training: dict[str, Any] | None = None,
    ) -> Path:
        path = tmp_path / name
        with h5py.File(path, "w") as file:
            group = file
            if config is not None:
                file.attrs["model_config"] = json.dumps(config).encode()
                group = file.create_group("model_weights")
            if training is not None:
                file.attrs["training_config"] = json.dumps(training).encode()
            if version is not None:
                file.attrs["keras_version"] = version.encode()
                group.attrs["keras_version"] = version.encode()
            group.attrs["layer_names"] = [layer.encode() for layer in weights]
            for layer, arrays in weights.items():
                layer_group = group.require_group(layer)
                layer_group.attrs["weight_names"] = [weight.encode() for weight in arrays]
                for weight, values in arrays.items():
                    layer_group.create_dataset(weight, data=values)
        return path

    return write
