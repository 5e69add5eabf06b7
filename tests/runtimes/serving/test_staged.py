"""A server runs the stages of a model, proves them when it loads them, and names what fails."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from chain_graph import chain

from runtimes import BudgetError, ModelError, Pipeline, RuntimeUnavailable, open_runtime
from runtimes.serving.client import ServedModel
from runtimes.serving.options import ModelOptions, ServeOptions
from runtimes.serving.run import Addresses, running
from runtimes.stages.manifest import MANIFEST, read_manifest, write_manifest
from runtimes.stages.partition import partition
from runtimes.stages.proof import PROOF, read_proof, write_proof

WIDTHS = (6, 8, 8, 4)
X = np.random.default_rng(3).normal(size=(5, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "chain.onnx"
    ir.save(chain(WIDTHS), path)
    return path


@pytest.fixture(scope="module")
def stages(model: Path) -> Path:
    folder = model.parent / "net"
    partition(model, folder, stages=2, even_if_slower=True, costs="none")
    return folder


@pytest.fixture
def expected(model: Path) -> dict[str, Any]:
    with open_runtime(model) as whole:
        return whole.run({"x": X})


def serve(*models: object, **more: Any) -> Any:
    return running(ServeOptions(models=tuple(map(str, models)), port=0, **more))


def copied(stages: Path, folder: Path, second: str) -> Path:
    """The same stages, of which the second is on the device ``second``."""
    shutil.copytree(stages, folder)
    told = read_manifest(folder)
    last = replace(told.stages[1], device=second)
    write_manifest(folder, replace(told, stages=(told.stages[0], last)))
    return folder


def answer(where: Addresses, name: str) -> dict[str, Any]:
    with ServedModel(f"{where.url}/v2/models/{name}") as served:
        return served.run({"x": X})


def require_close(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("where", ["threads", "processes"])
def test_stages_are_served_as_one_model(stages: Path, expected: dict[str, Any], where: Any) -> None:
    with (
        serve(stages, model=ModelOptions(stages=where)) as at,
        ServedModel(f"{at.url}/v2/models/net") as served,
    ):
        assert [spec.name for spec in served.inputs] == ["x"]
        assert [spec.name for spec in served.outputs] == list(expected)
        require_close(served.run({"x": X}), expected)


@pytest.fixture
def second(stages: Path) -> Iterator[Addresses]:
    """A server that has the second stage, under the stage's own name."""
    with serve(stages / "stage-2.onnx") as where:
        yield where


def test_a_stage_may_be_on_another_server(
    stages: Path, second: Addresses, expected: dict[str, Any], tmp_path: Path
) -> None:
    folder = copied(stages, tmp_path / "net", second.url)
    (folder / "stage-2.onnx").unlink()  # which is needed there, not here
    with serve(folder) as at:
        require_close(answer(at, "net"), expected)
    with Pipeline(folder, where="threads") as pipeline:
        require_close(pipeline.run({"x": X}), expected)


def test_a_device_that_vanished_is_named_and_may_come_back(
    stages: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    with serve(stages / "stage-2.onnx") as first:
        port = int(first.url.rpartition(":")[2])
        pipeline = Pipeline(copied(stages, tmp_path / "net", first.url), where="threads")
        require_close(pipeline.run({"x": X}), expected)
    with pipeline:
        with pytest.raises(RuntimeUnavailable, match=r"stage 2 of 2 \(stage-2\): .*not answer"):
            pipeline.run({"x": X})
        with running(ServeOptions(models=(str(stages / "stage-2.onnx"),), port=port)):
            require_close(pipeline.run({"x": X}), expected)


def test_clients_are_told_which_stage_is_away(
    stages: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    with ExitStack() as held:
        with serve(stages / "stage-2.onnx") as first:
            at = held.enter_context(serve(copied(stages, tmp_path / "net", first.url)))
            require_close(answer(at, "net"), expected)
        with pytest.raises(RuntimeUnavailable, match=r"stage 2 of 2 \(stage-2\)"):
            answer(at, "net")


def test_a_server_of_which_a_stage_is_away_does_not_load_it(stages: Path, tmp_path: Path) -> None:
    folder = copied(stages, tmp_path / "net", "http://127.0.0.1:1")
    with pytest.raises(RuntimeUnavailable, match=r"stage 2 of 2 \(stage-2\)"), serve(folder):
        pass


def test_another_model_at_the_address_is_refused(stages: Path, model: Path, tmp_path: Path) -> None:
    with serve(f"stage-2={model}") as other:
        folder = copied(stages, tmp_path / "net", other.url)
        with pytest.raises(ModelError, match=r"stage-2\): .* is another model: it takes x"):
            Pipeline(folder)


def test_stages_that_answer_something_else_are_not_served(stages: Path, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    shutil.copytree(stages, folder)
    proof = read_proof(folder)
    write_proof(folder, proof.feed, {name: -array for name, array in proof.outputs.items()})
    with pytest.raises(ModelError, match=r"proof\.npz was changed"), serve(folder):
        pass
    from runtimes.atomic_files import file_digest

    write_manifest(
        folder, replace(read_manifest(folder, verify=False), proof=file_digest(folder / PROOF))
    )
    with (
        pytest.raises(BudgetError, match="not that of the whole model that was cut"),
        serve(folder),
    ):
        pass


def test_a_damaged_proof_is_refused(stages: Path, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    shutil.copytree(stages, folder)
    (folder / PROOF).write_bytes(b"PK" + bytes(100))
    with pytest.raises(ModelError, match="damaged"):
        read_proof(folder)
    told = json.loads((folder / MANIFEST).read_text())
    assert told["proof"]
