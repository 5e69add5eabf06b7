"""Stages are packaged as one bundle, and written for systems that run one after the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import yaml
from chain_graph import chain

from converter.packaging.deploy import deploy
from converter.packaging.kserve_graph import carrying_stages
from converter.packaging.options import DeployOptions
from converter.packaging.package import package
from converter.packaging.run import answers
from converter.packaging.staged import read_staged
from runtimes import BundleError, DataError, RuntimeUnavailable, open_runtime
from runtimes.bundle import Bundle
from runtimes.serving.client import ServedModel
from runtimes.serving.options import ModelOptions, ServeOptions
from runtimes.serving.run import running
from runtimes.stages.partition import partition

IMAGE = "registry.example.com/team/net:7"
X = np.random.default_rng(3).normal(size=(5, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "chain.onnx"
    ir.save(chain((6, 8, 8, 4)), path)
    return path


@pytest.fixture(scope="module")
def stages(model: Path) -> Path:
    folder = model.parent / "stages"
    partition(model, folder, stages=3, even_if_slower=True, costs="none")
    return folder


@pytest.fixture(scope="module")
def bundle(stages: Path) -> Path:
    np.savez(stages.parent / "x.npz", x=np.tile(X, (8, 1)))
    path = stages.parent / "net.kilnx"
    package(stages, path, stages.parent / "x.npz", name="net", version="3")
    return path


@pytest.fixture
def expected(model: Path) -> dict[str, Any]:
    with open_runtime(model) as whole:
        return whole.run({"x": X})


def require_close(found: Any, expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-5)


def test_a_bundle_of_stages_is_served_and_watched(bundle: Path, expected: dict[str, Any]) -> None:
    with (
        running(ServeOptions(models=(str(bundle),), port=0)) as where,
        ServedModel(f"{where.url}/v2/models/net/versions/3") as served,
    ):
        require_close(served.run({"x": X}), expected)
    with Bundle.open(bundle) as opened:
        assert opened.reference is not None
        assert opened.warmup is not None
        with pytest.raises(BundleError, match="holds the stages of a model"):
            _ = opened.model


def test_a_bundle_of_stages_runs_over_samples(
    bundle: Path, stages: Path, expected: dict[str, Any]
) -> None:
    for source in (bundle, stages):
        require_close(answers(source, {"x": X}).outputs, expected)
    with pytest.raises(DataError, match="leave out --provider"):
        answers(bundle, {"x": X}, provider="openvino")


def test_a_bundle_of_stages_is_packaged_again(bundle: Path, tmp_path: Path) -> None:
    package(bundle, tmp_path / "again", version="4")
    with Bundle.open(tmp_path / "again") as again, Bundle.open(bundle) as first:
        assert again.version == "4"
        assert again.files == first.files


def test_stages_that_changed_are_refused(bundle: Path, tmp_path: Path) -> None:
    package(bundle, tmp_path / "again")
    path = tmp_path / "again/stage-2.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match=r"stage-2\.onnx"):
        Bundle.open(tmp_path / "again")


def test_a_bundle_does_not_say_where_requests_go(model: Path, tmp_path: Path) -> None:
    partition(model, tmp_path / "stages", devices=["cpu", "http://127.0.0.1:1"], costs="none")
    bundle = tmp_path / "net.kilnx"
    package(tmp_path / "stages", bundle, name="net")
    with (
        pytest.raises(DataError, match=r"stages on http://127\.0\.0\.1:1, where requests would go"),
        running(ServeOptions(models=(str(bundle),), port=0)),
    ):
        pass
    allowed = ServeOptions(models=(str(bundle),), port=0, model=ModelOptions(stage_servers=True))
    with pytest.raises(RuntimeUnavailable, match="stage 2 of 2"), running(allowed):
        pass
    with pytest.raises(DataError, match="--provider cpu"):
        answers(bundle, {"x": X})
    assert answers(bundle, {"x": X}, provider="cpu").samples == 5


def test_systems_that_run_one_file_say_so(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="holds the stages"):
        deploy(bundle, tmp_path / "out", "mlflow")


ENSEMBLE = """\
name: "net"
platform: "ensemble"
max_batch_size: 32
version_policy {
  specific {
    versions: 3
  }
}
input {
  name: "x"
  data_type: TYPE_FP32
  dims: 6
}
output {
  name: "h0"
  data_type: TYPE_FP32
  dims: 8
}
output {
  name: "h2"
  data_type: TYPE_FP32
  dims: 4
}
ensemble_scheduling {
"""


def test_triton_gets_an_ensemble_and_its_stages(bundle: Path, tmp_path: Path) -> None:
    deploy(bundle, tmp_path / "out", "triton")
    repository = tmp_path / "out/repository"
    names = [f"net-stage-{number}" for number in (1, 2, 3)]
    assert sorted(path.name for path in repository.iterdir()) == ["net", *names]
    assert (repository / "net/3").is_dir()
    _, _, config = (repository / "net/config.pbtxt").read_text().partition("\n")
    assert config.startswith(ENSEMBLE)
    assert config.count("  step {") == 3
    first = config.index('    model_name: "net-stage-1"')
    assert first < config.index('    model_name: "net-stage-2"')
    assert config.count("    model_version: 3\n") == 3
    for name in names:
        own = (repository / name / "config.pbtxt").read_text()
        assert f'default_model_filename: "{name.removeprefix("net-")}.onnx"' in own
        assert "max_batch_size: 32\n" in own
        onnxruntime.InferenceSession(repository / name / "3" / f"{name.removeprefix('net-')}.onnx")


def test_a_stage_of_a_graphics_card_says_so(model: Path, tmp_path: Path) -> None:
    partition(model, tmp_path / "stages", devices=["cpu", "cuda:1"], costs="none")
    package(tmp_path / "stages", tmp_path / "net.kilnx", name="net")
    deploy(tmp_path / "net.kilnx", tmp_path / "out", "triton", DeployOptions(instances=2))
    config = (tmp_path / "out/repository/net-stage-2/config.pbtxt").read_text()
    assert "count: 2\n  kind: KIND_GPU\n  gpus: 1\n" in config


def test_what_was_cut_for_one_machine_stays_there(model: Path, tmp_path: Path) -> None:
    partition(model, tmp_path / "stages", stages=2, even_if_slower=True, exact=True, costs="none")
    package(tmp_path / "stages", tmp_path / "net.kilnx", name="net")
    for to in ("triton", "kserve"):
        with pytest.raises(DataError, match="without exact"):
            deploy(tmp_path / "net.kilnx", tmp_path / "out", to)


def test_stages_that_carry_take_what_the_one_before_gives(stages: Path) -> None:
    staged = read_staged(stages)
    carrying = list(carrying_stages(staged))
    values: list[str] = ["x"]
    for one in carrying:
        assert [value.name for value in one.graph.inputs] == values
        values = [str(value.name) for value in one.graph.outputs]
    assert values == ["h0", "h2"]


def test_kserve_gets_a_graph_whose_steps_understand_each_other(
    bundle: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    deploy(bundle, folder, "kserve", DeployOptions(image=IMAGE))
    documents = [
        yaml.safe_load(path.read_text()) for path in sorted((folder / "manifests").glob("*.yaml"))
    ]
    services = {
        one["metadata"]["name"]: one for one in documents if one["kind"] == "InferenceService"
    }
    (graph,) = (one for one in documents if one["kind"] == "InferenceGraph")
    (runtime,) = (one for one in documents if one["kind"] == "ServingRuntime")
    assert graph["metadata"]["name"] == "net"
    root = graph["spec"]["nodes"]["root"]
    assert root["routerType"] == "Sequence"
    assert [step["data"] for step in root["steps"]] == ["$request", "$response", "$response"]
    body: Any = {
        "inputs": [{"name": "x", "shape": [5, 6], "datatype": "FP32", "data": X.ravel().tolist()}]
    }
    for step in root["steps"]:
        name = step["serviceName"]
        model = services[name]["spec"]["predictor"]["model"]
        assert model["runtime"] == runtime["metadata"]["name"]
        assert model["storageUri"] == f"oci://registry.example.com/team/{name}:7"
        # What KServe's router does: the body of an answer is that of the next request.
        with running(
            ServeOptions(models=(str(folder / f"modelcar-{step['name']}/bundle"),), port=0)
        ) as where:
            body = posted(f"{where.url}/v2/models/{name}/infer", body)
    found = {
        one["name"]: np.array(one["data"], np.float32).reshape(one["shape"])
        for one in body["outputs"]
    }
    require_close(found, expected)


def posted(url: str, body: Any) -> Any:
    from urllib.request import Request, urlopen

    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request) as answer:
        return json.load(answer)
