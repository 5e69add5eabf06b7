"""A model in MLflow's format, of the flavour ``onnx``.

https://mlflow.org/docs/latest/ml/model/#model-signatures-and-input-examples
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from converter.packaging.installed import require_engine
from converter.packaging.options import PORT, DeployOptions, Exported
from converter.packaging.signature import copy_model, read_signature
from converter.packaging.yaml_text import yaml_text
from runtimes.base import TensorSpec
from runtimes.bundle import Bundle
from runtimes.version import installed_version, own_version


def export_mlflow(bundle: Bundle, folder: Path, _: DeployOptions) -> Exported:
    """Write ``model/``: ``MLmodel``, the ONNX file and the environment that it wants."""
    engine, version = require_engine()
    model = folder / "model"
    signature = read_signature(bundle.model)
    copy_model(bundle.model, model, signature)
    onnx_version = installed_version(["onnx"])
    requirements = [_mlflow(), f"onnx=={onnx_version}", f"{engine}=={version}"]
    lines = "".join(f"{line}\n" for line in requirements)
    (model / "requirements.txt").write_text(lines, encoding="utf-8")
    python = platform.python_version()
    _write(model / "python_env.yaml", _python_env(python))
    _write(model / "conda.yaml", _conda(python, requirements))
    tensors = _schemas(signature.inputs, signature.outputs)
    _write(model / "MLmodel", _mlmodel(bundle, onnx_version, python, tensors))
    notes = () if tensors else ("the signature is left out: MLflow has no such element type",)
    return Exported(
        next_steps=(f"mlflow models serve --model-uri model --port {PORT}",),
        notes=(*notes, "MLflow neither watches drift nor goes back to fp32; kilnx serve does"),
    )


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(yaml_text(document), encoding="utf-8")


def _mlflow() -> str:
    """The version of MLflow that is installed here, or one that knows this format."""
    version = installed_version(["mlflow", "mlflow-skinny"])
    return f"mlflow=={version}" if version else "mlflow>=2.10"


def _mlmodel(
    bundle: Bundle, onnx_version: str | None, python: str, tensors: dict[str, str] | None
) -> dict[str, Any]:
    data = bundle.model.name
    onnx = {
        "code": None,
        "data": data,
        "onnx_version": onnx_version,
        # What the bundle was proven with; MLflow's default is CUDA where it is there.
        "providers": ["CPUExecutionProvider"],
        "onnx_session_options": {"intra_op_num_threads": 1},
    }
    pyfunc = {
        "data": data,
        "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
        "loader_module": "mlflow.onnx",
        "python_version": python,
    }
    told = {"name": bundle.name, "version": bundle.version, "bundle": bundle.digest}
    return {
        "flavors": {"onnx": onnx, "python_function": pyfunc},
        "metadata": {"kilnx": {**told, "kilnx": own_version()}},
        # MLflow wants an identity, and the same bundle is the same model.
        "model_uuid": bundle.digest.rpartition(":")[2][:32],
        **({"signature": tensors} if tensors else {}),
    }


def _schemas(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> dict[str, str] | None:
    """Inputs and outputs as MLflow's signature; None where NumPy alone lacks an element type."""
    if any(_dtype(spec) is None for spec in (*inputs, *outputs)):
        return None
    return {
        "inputs": json.dumps([_tensor(spec) for spec in inputs]),
        "outputs": json.dumps([_tensor(spec) for spec in outputs]),
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    shape = [dim if isinstance(dim, int) else -1 for dim in spec.shape or ()]
    told = {"dtype": _dtype(spec), "shape": shape}
    return {"name": spec.name, "type": "tensor", "tensor-spec": told}


def _dtype(spec: TensorSpec) -> str | None:
    """The name of a type that NumPy has by itself; bfloat16 is of another package."""
    return spec.dtype.name if spec.dtype.isbuiltin == 1 else None


def _python_env(python: str) -> dict[str, Any]:
    return {
        "python": python,
        "build_dependencies": ["pip"],
        "dependencies": ["-r requirements.txt"],
    }


def _conda(python: str, requirements: Sequence[str]) -> dict[str, Any]:
    return {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": list(requirements)}],
    }
