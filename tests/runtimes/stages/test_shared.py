"""Stages, and replicas of stages, that hold one copy of each weight."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx.parser import parse_model
from served import serving

import runtimes.engines.ort_optimized
import runtimes.weight_store.shared_sessions
from runtimes import DataError, Pipeline, SharedWeights, open_runtime
from runtimes.engines.ort import OrtRuntime
from runtimes.serving.options import ModelOptions
from runtimes.stages.partition import partition
from runtimes.stages.staged import StagedRuntime

WIDTH = 96
TIED = WIDTH * WIDTH * 4
X = np.random.default_rng(0).normal(size=(3, WIDTH)).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two products with one weight, far apart, and a weight of its own between them."""
    rng = np.random.default_rng(1)
    found = ir.from_proto(
        parse_model(f"""<ir_version: 10, opset_import: ["" : 18]>
        net (float[n, {WIDTH}] x) => (float[n, {WIDTH}] y) {{
          a = MatMul(x, tied) b = Relu(a) c = MatMul(b, own) d = Relu(c) y = MatMul(d, tied)
        }}""")
    )
    for name in ("tied", "own"):
        array = (rng.normal(size=(WIDTH, WIDTH)) / WIDTH**0.5).astype(np.float32)
        tensor = ir.tensor(array, name=name)
        value = next(v for node in found.graph for v in node.inputs if v.name == name)
        value.const_value, value.shape = tensor, tensor.shape
        value.type = ir.TensorType(ir.DataType.FLOAT)
        found.graph.register_initializer(value)
    for number, node in enumerate(found.graph):
        node.name = f"n{number}"
    path = tmp_path_factory.mktemp("tied") / "tied.onnx"
    ir.save(found, path)
    return path


def cut(model: Path, folder: Path, **options: Any) -> Path:
    partition(model, folder, stages=2, even_if_slower=True, costs="none", **options)
    return folder


@pytest.fixture(scope="module")
def stages(model: Path) -> Path:
    return cut(model, model.parent / "stages")


@pytest.fixture(scope="module")
def expected(model: Path) -> Any:
    with open_runtime(model) as whole:
        return whole.run({"x": X})["y"]


def test_stages_and_replicas_in_one_process_hold_a_weight_once(stages: Path, expected: Any) -> None:
    with (
        SharedWeights(threads=1, prepack=True) as shared,
        Pipeline(stages, where="threads", shared=shared) as first,
        Pipeline(stages, where="threads", shared=shared) as second,
        StagedRuntime(stages, shared=shared) as third,
    ):
        for one in (first, second, third):
            np.testing.assert_allclose(one.run({"x": X})["y"], expected, rtol=1e-5, atol=1e-6)
        report = shared.report()
        assert report.sessions == 6
        assert report.held_bytes == 2 * TIED
        assert report.bytes_without_sharing == 3 * 3 * TIED


def mapped(pid: int, folder: Path) -> set[str]:
    """The weights of a pool that a process has mapped."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {Path(line.split()[-1]).name for line in lines if str(folder / "weights") in line}


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="there is no /proc here")
def test_processes_map_the_same_files(stages: Path, expected: Any, tmp_path: Path) -> None:
    with (
        SharedWeights(tmp_path / "pool", threads=1, prepack=True) as shared,
        Pipeline(stages, shared=shared) as pipeline,
    ):
        np.testing.assert_allclose(pipeline.run({"x": X})["y"], expected, rtol=1e-5, atol=1e-6)
        pids = [seat.runtime._process._process.pid for seat in pipeline._seats]  # type: ignore
        first, second = (mapped(pid, shared.folder) for pid in pids)
        assert len(first | second) == 2
        assert len(first & second) == 1


def test_an_exact_cut_stays_exact(model: Path, tmp_path: Path, expected: Any) -> None:
    folder = cut(model, tmp_path / "exact", exact=True)
    for where in ("threads", "processes"):
        with (
            SharedWeights(threads=1, prepack=True) as shared,
            Pipeline(folder, where=where, shared=shared) as pipeline,  # type: ignore[arg-type]
        ):
            np.testing.assert_array_equal(pipeline.run({"x": X})["y"], expected)
    with SharedWeights() as shared, pytest.raises(DataError, match="prepack=True"):
        Pipeline(folder, shared=shared)


def test_a_gpu_holds_one_copy_for_all_of_its_stages(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two GPUs with two stages each: stand-ins, of which it is told what was put on them."""
    placed: list[tuple[int, int]] = []
    opened: list[int] = []

    class Value:
        def __init__(self, array: Any, place: dict[str, Any]) -> None:
            self.size = array.nbytes
            placed.append((place["device_id"], array.nbytes))

        def tensor_size_in_bytes(self) -> int:
            return self.size

    def on_device(source: Any, *, provider: str, cuda: Any = None, **options: Any) -> Any:
        if "optimized_model_path" in options:
            return OrtRuntime(source, **options)
        assert provider == "cuda"
        opened.append(cuda.device)
        held.append(options.pop("initializers"))
        return OrtRuntime(source, **options)

    held: list[Any] = []
    ort = SimpleNamespace(
        __version__="0",
        OrtValue=SimpleNamespace(ortvalue_from_numpy=lambda array, **place: Value(array, place)),
    )
    monkeypatch.setattr(runtimes.weight_store.shared_sessions, "require_onnxruntime", lambda: ort)
    for module in (runtimes.weight_store.shared_sessions, runtimes.engines.ort_optimized):
        monkeypatch.setattr(module, "OrtRuntime", on_device)
    same = cut(model, tmp_path / "same", devices=["cuda:0", "cuda:0"])
    apart = cut(model, tmp_path / "apart", devices=["cuda:0", "cuda:1"])
    with SharedWeights(threads=1, arena=False) as shared:
        with Pipeline(same, shared=shared), Pipeline(same, shared=shared):
            assert opened == [0, 0, 0, 0]
            assert placed == [(0, TIED), (0, TIED)]
        with Pipeline(apart, shared=shared):
            assert {device for device, _ in placed[2:]} == {1}  # what is on the other one is there


def test_a_server_shares_the_weights_of_stages(stages: Path, tmp_path: Path, expected: Any) -> None:
    options = ModelOptions(share=tmp_path / "pool")
    with serving(f"one={stages}", f"two={stages}", model=options) as client:
        for name in ("one", "two"):
            found = client.outputs(client.infer(X, name))
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        assert len(list((tmp_path / "pool" / "weights").iterdir())) == 2
