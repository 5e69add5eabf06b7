"""``kilnx check`` and ``kilnx profile``: their options on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest

from converter.cli.console import run_cli
from runtimes.extras import pip_install


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two models, one of them wrong in its second node, and labelled data."""
    for name, factor in (("good", 2.0), ("bad", 2.5)):
        text = (
            '<ir_version: 10, opset_import: ["" : 18]> net (float[n, 4] x) => (float[n, 4] y)'
            f"<float k = {{{factor}}}> {{ [first] a = Exp(x)\n [second] b = Mul(a, k)\n"
            "[third] y = Softmax(b) }"
        )
        ir.save(ir.from_proto(onnx.parser.parse_model(text)), tmp_path / f"{name}.onnx")
    x = np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, labels=x.argmax(1))
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    code = run_cli_code(*arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def run_cli_code(*arguments: Any) -> int:
    from converter.cli import app

    return run_cli(app, [str(argument) for argument in arguments])


def test_layers_name_the_culprit(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = (files / "good.onnx", files / "bad.onnx", "--data", files / "data.npz", "--layers")
    code, out, _ = run(capsys, "check", *common)
    assert code == 1
    assert "the layer 'second' (Mul) departs" in out
    code, out, _ = run(capsys, "check", *common, "--json")
    assert code == 1
    assert json.loads(out)["layers"]["culprit"] == "second"


def test_a_matrix_of_providers_and_levels(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        capsys, "check", files / "good.onnx", files / "good.onnx", "--data", files / "data.npz",
        "--provider", "cpu", "--provider", "reference",
        "--optimization", "disabled", "--optimization", "all", "--json",
    )  # fmt: skip
    assert code == 0
    report = json.loads(out)
    assert [one["provider"] for one in report["outputs"]] == [
        "cpu, disabled", "cpu, all", "reference",
    ]  # fmt: skip
    assert report["verdict"] == "passed"
    code, _, err = run(
        capsys, "check", files / "good.onnx", files / "good.onnx", "--data", files / "data.npz",
        "--optimization", "most",
    )  # fmt: skip
    assert code == 2
    assert "disabled, basic, extended, all" in err


def test_too_few_samples_are_told_and_strict_fails(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = (
        "check", files / "good.onnx", files / "good.onnx", "--data", files / "data.npz",
        "--metric", "top1", "--max-drop", "0.01",
    )  # fmt: skip
    code, out, _ = run(capsys, *common)
    assert code == 0
    assert "passed (not enough samples to tell)" in out
    assert run(capsys, *common, "--strict")[0] == 1


def test_a_provider_that_is_not_there_is_code_three(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("CUDA is there")
    code, _, err = run(capsys, "profile", files / "good.onnx", "--provider", "cuda")
    assert code == 3
    assert pip_install("gpu") in err


def test_profile_shows_operators_and_threads(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(
        capsys, "profile", files / "good.onnx", "--threads", "1,2", "--operators", "--memory",
        "--json",
    )  # fmt: skip
    assert code == 0
    report = json.loads(out)
    assert [one["threads"] for one in report["batches"]] == [1, 2]
    assert report["operators"]["operators"]
    code, out, _ = run(capsys, "profile", files / "good.onnx", "--threads", "1", "--operators")
    assert "where the time goes" in out
    assert "roof:" in out
    assert run(capsys, "profile", files / "good.onnx", "--threads", "two")[0] == 2


def test_options_of_images(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ("check", files / "good.onnx", files / "good.onnx", "--data", files / "data.npz")
    code, _, err = run(capsys, *common, "--image-size", "4x4")
    assert code == 2
    assert "is a file" in err
    code, _, err = run(capsys, *common, "--image-size", "four")
    assert code == 2
    assert "224x224" in err


@pytest.mark.parametrize("command", ["compress", "quantize", "prune"])
def test_image_folders_are_data_of_every_step(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = pytest.importorskip("PIL.Image")

    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for k in range(40):
        pixels = rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)
        image.fromarray(pixels).save(tmp_path / "images" / f"{k}.png")
    text = (
        '<ir_version: 10, opset_import: ["" : 18]> net (float[n, 8, 8, 3] x) => (float[n, 3] y) '
        "<int64[2] axes = {1, 2}> { m = ReduceMean<keepdims = 0>(x, axes)\n y = Softmax(m) }"
    )
    ir.save(ir.from_proto(onnx.parser.parse_model(text)), tmp_path / "net.onnx")
    output = tmp_path / ("out" if command == "compress" else "out.onnx")
    common = (command, tmp_path / "net.onnx", "-o", output, "--data", tmp_path / "images")
    code, _, err = run(capsys, *common, "--image-size", "four")
    assert code == 2
    assert "224x224" in err
    assert not output.exists()
    common += ("--no-recover",) if command == "compress" else ()
    code, _, err = run(capsys, *common, "--image-size", "8x8", "--image-scale", "0.00392")
    assert code == 0, err
    assert output.exists()
