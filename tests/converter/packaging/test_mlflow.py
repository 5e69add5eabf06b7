"""A folder that MLflow reads: flavours, signature and the environment of the proof."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest
import yaml
from bundles import make_bundle

from converter.packaging.deploy import deploy
from runtimes.bundle import write_bundle

pytestmark = pytest.mark.fast


def mlmodel(bundle: Path) -> dict[str, Any]:
    deploy(bundle, bundle.parent / "out", "mlflow")
    found: dict[str, Any] = yaml.safe_load((bundle.parent / "out/model/MLmodel").read_text())
    return found


def test_the_flavours_name_what_is_there(tmp_path: Path) -> None:
    found = mlmodel(make_bundle(tmp_path))
    folder = tmp_path / "out/model"
    assert set(found["flavors"]) == {"onnx", "python_function"}
    onnx, pyfunc = found["flavors"]["onnx"], found["flavors"]["python_function"]
    assert (folder / onnx["data"]).read_bytes() == (tmp_path / "model-of-bundle.onnx").read_bytes()
    assert pyfunc["data"] == onnx["data"]
    assert onnx["onnx_version"] == version("onnx")
    assert onnx["providers"] == ["CPUExecutionProvider"]
    assert pyfunc["loader_module"] == "mlflow.onnx"
    assert {(folder / name).is_file() for name in pyfunc["env"].values()} == {True}
    assert found["metadata"]["kilnx"]["name"] == "digits"
    assert len(found["model_uuid"]) == 32


def test_the_signature_is_that_of_the_model(tmp_path: Path) -> None:
    signature = mlmodel(make_bundle(tmp_path))["signature"]
    tensor = {"dtype": "float32", "shape": [-1, 4]}
    assert json.loads(signature["inputs"]) == [
        {"name": "x", "type": "tensor", "tensor-spec": tensor}
    ]
    assert json.loads(signature["outputs"]) == [
        {"name": "y", "type": "tensor", "tensor-spec": tensor}
    ]


def test_versions_are_those_of_the_proof(tmp_path: Path) -> None:
    mlmodel(make_bundle(tmp_path))
    lines = (tmp_path / "out/model/requirements.txt").read_text().splitlines()
    assert f"onnx=={version('onnx')}" in lines
    assert any(line.startswith("onnxruntime") and "==" in line for line in lines)
    conda = yaml.safe_load((tmp_path / "out/model/conda.yaml").read_text())
    assert conda["dependencies"][-1] == {"pip": lines}


def test_a_type_that_numpy_lacks_leaves_the_signature_out(
    tmp_path: Path, graph: Callable[[str], ir.Model], saved: Callable[[ir.Model], Path]
) -> None:
    model = graph("g (bfloat16[b] x) => (bfloat16[b] y) { y = Identity(x) }")
    write_bundle(tmp_path / "bundle", model=saved(model), name="net").close()
    assert "signature" not in mlmodel(tmp_path / "bundle")
    assert "no such element type" in (tmp_path / "out/README.txt").read_text()
