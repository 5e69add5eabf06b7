"""``benchmarks/gpu.py`` and ``benchmarks/arm.py`` on a machine that has neither."""

from __future__ import annotations

import argparse
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest

from runtimes import open_runtime

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

pytestmark = pytest.mark.skipif(
    not BENCHMARKS.exists(), reason="benchmarks are in the repository only"
)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Weights, a constant, a cast, and scales that are float32 whatever the data are."""
    weights = ", ".join(f"{value:.4f}" for value in np.random.default_rng(0).standard_normal(48))
    text = (
        '<ir_version: 10, opset_import: ["" : 18]> net (float[n, 1, 4, 4] x) => (float[n, 3] y)'
        f"<float[3, 16] w = {{{weights}}}, float[4] scales = {{1.0, 1.0, 2.0, 2.0}}>"
        '{ r = Resize<mode = "nearest">(x, , scales)'
        " a = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(r)"
        " c = Constant<value = float[1] {0.3}>() d = Mul(a, c) e = Cast<to = 1>(d)"
        " f = Flatten(e) y = Gemm<transB = 1>(f, w) }"
    )
    path = tmp_path / "net.onnx"
    ir.save(ir.from_proto(onnx.parser.parse_model(text)), path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "samples.npz"
    np.savez(path, x=np.random.default_rng(1).standard_normal((8, 1, 4, 4)).astype(np.float32))
    return path


def test_float16_is_near_and_keeps_its_interface(load: Any, model: Path, tmp_path: Path) -> None:
    half = load("half").to_float16(ir.load(model))
    assert half.graph.initializers["w"].dtype == ir.DataType.FLOAT16
    assert half.graph.initializers["scales"].dtype == ir.DataType.FLOAT
    path = tmp_path / "half.onnx"
    ir.save(half, path)
    x = np.random.default_rng(2).standard_normal((5, 1, 4, 4)).astype(np.float32)
    with open_runtime(model) as one, open_runtime(path) as other:
        assert [str(spec) for spec in other.inputs] == [str(spec) for spec in one.inputs]
        a, b = one.run({"x": x})["y"], other.run({"x": x})["y"]
    assert b.dtype == np.float32
    np.testing.assert_allclose(a, b, rtol=0.02, atol=0.02)
    assert (a != b).any()


def test_without_a_gpu_it_says_so(
    load: Any, model: Path, data: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = load("gpu")
    monkeypatch.setattr(gpu, "is_available", lambda provider: False)
    assert gpu.main([str(model), "--data", str(data)]) == 3
    assert "pip install onnxruntime-gpu" in capsys.readouterr().err
    monkeypatch.setattr(gpu, "is_available", lambda provider: provider == "cuda")
    monkeypatch.setattr(gpu, "has_gpu", lambda: False)
    assert gpu.main([str(model), "--data", str(data)]) == 3
    assert "no NVIDIA GPU here" in capsys.readouterr().err


def test_with_another_engine_as_the_gpu(
    load: Any, model: Path, data: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = load("gpu")
    monkeypatch.setattr(gpu, "GPU", ("reference",))
    monkeypatch.setattr(gpu, "has_gpu", lambda: True)
    monkeypatch.setattr(gpu, "_WARM_UP", 0.0)
    monkeypatch.setattr(gpu, "_MEASURED", 0.0)
    assert gpu.main([str(model), "--data", str(data)]) == 0
    said = capsys.readouterr().out
    for place in ("net.onnx on cpu", "net_fp16.onnx on cpu", "net.onnx on reference"):
        assert f"{place}: right; " in said
    assert "ms at batch 32" in said


def test_what_does_not_fit_in_the_time_is_left_out(
    load: Any, model: Path, data: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = load("gpu")
    monkeypatch.setattr(gpu, "GPU", ("reference",))
    monkeypatch.setattr(gpu, "has_gpu", lambda: True)
    assert gpu.main([str(model), "--data", str(data), "--minutes", "0.01"]) == 1
    assert "net.onnx on cpu: left out; the time was up" in capsys.readouterr().out


def test_two_machines_are_compared_bit_by_bit(load: Any, tmp_path: Path) -> None:
    here = np.float32([[1, 2, 3], [3, 2, 1]])
    there = here.copy()
    there[0] = [1, 2.5, 2]
    np.savez(tmp_path / "a.npz", y=here, z=here)
    np.savez(tmp_path / "b.npz", y=there, z=here)
    differing, same = load("arm").differences(tmp_path / "a.npz", tmp_path / "b.npz")
    assert (differing["same"], differing["elements"]) == (4, 6)
    assert (differing["changed"], differing["samples"]) == (1, 2)
    assert differing["sqnr"] == pytest.approx(10 * np.log10(28 / 1.25))
    assert (same["same"], same["sqnr"], same["changed"]) == (6, None, 0)


def test_what_arm_needs_and_does_not_find(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = load("arm_root")
    monkeypatch.setattr(root.shutil, "which", lambda name: None)
    with pytest.raises(root.Unavailable, match="Debian or Ubuntu"):
        root.build(tmp_path / "arm", {"numpy": "2.0.0"})


def test_arm_reads_the_description_of_the_core_that_it_runs_on(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a translator that only says how it was called."""
    root = load("arm_root")
    own = tmp_path / "host/usr/bin/qemu-aarch64-static"
    own.parent.mkdir(parents=True)
    own.write_text('#!/bin/sh\necho "$@"\n')
    own.chmod(0o755)
    done: subprocess.CompletedProcess[str] = root.run(tmp_path, "cortex-a53", ["w.py"], timeout=30)
    assert done.stdout.startswith("-cpu cortex-a53 -L ")
    assert done.stdout.split()[-1] == "w.py"
    described = (tmp_path / "root/proc/cpuinfo").read_text()
    assert "0xd03" in described
    assert "asimddp" not in described
    root.run(tmp_path, "neoverse-n1", ["w.py"], timeout=30)
    assert "asimddp" in (tmp_path / "root/proc/cpuinfo").read_text()


def test_arm_cannot_be_had(load: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    arm = load("arm")

    def refuse(folder: Path, options: argparse.Namespace) -> Any:
        raise arm.Unavailable("apt-get failed: no network")

    monkeypatch.setattr(arm, "compare", refuse)
    monkeypatch.setattr(arm.sys, "argv", ["arm.py"])
    assert arm.main() == 3
    assert "no network" in capsys.readouterr().err
