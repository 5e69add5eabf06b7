"""The command line: exit codes, one clear line for what is wrong, JSON, no TensorFlow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from converter import convert

Kilnx = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def onnx_file(digits_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "model.onnx"
    convert(digits_model, path)
    return path


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


REPORT_MODULES = """
import sys
from converter.cli import app
from converter.cli.console import run_cli
code = run_cli(app, sys.argv[1:])
loaded = {name.partition(".")[0] for name in sys.modules}
sys.stderr.write(f"exit {code}; " + " ".join(sorted(loaded & {
    "tensorflow", "keras", "tf2onnx", "numpy", "onnx", "onnxruntime"})))
"""


@pytest.mark.parametrize("command", ["", "compress", "quantize", "check", "profile", "dedupe"])
def test_help_loads_no_heavy_library(command: str) -> None:
    result = python(REPORT_MODULES, *([command] if command else []), "--help")
    assert "Usage: kilnx" in result.stdout
    assert result.stderr.strip() == "exit 0;"


def test_commands_on_onnx_files_load_no_tensorflow(model: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.npz"
    int8 = ["quantize", model, "-o", tmp_path / "int8.onnx", "--data", data]
    for arguments in (
        ["check", model, model, "--data", data],
        ["profile", model],
        ["dedupe", model, "-o", tmp_path / "deduped.onnx"],
        [*int8, "--effort", "low", "--stress", "none"],
    ):
        result = python(REPORT_MODULES, *arguments)
        assert "exit 0;" in result.stderr, result.stderr
        loaded = result.stderr.rpartition("exit 0;")[2].split()
        assert "onnxruntime" in loaded or arguments[0] == "dedupe"
        assert not {"tensorflow", "keras", "tf2onnx"} & set(loaded), arguments[0]


def test_convert_prints_the_proof(kilnx: Kilnx, digits_files: Path, tmp_path: Path) -> None:
    code, out, err = kilnx("convert", digits_files / "model.keras", "-o", tmp_path / "m.onnx", "-q")
    assert code == 0
    assert "digit" in out
    assert "batch" in out
    assert err == ""
    assert (tmp_path / "m.onnx").exists()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_files_convert_whatever_backend_keras_is_set_to(
    backend: str, digits_files: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "converter", "convert", digits_files / "model.keras"]
    run = subprocess.run(
        [*command, "-o", tmp_path / "model.onnx"],
        env=os.environ | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "model.onnx").is_file()


@pytest.mark.parametrize("command", ["convert", "compress", "quantize", "check", "profile"])
def test_json_is_one_document(
    command: str, kilnx: Kilnx, onnx_file: Path, digits_files: Path, tmp_path: Path
) -> None:
    arguments = {
        "convert": [digits_files / "model.keras", "-o", tmp_path / "m.onnx"],
        "compress": [
            onnx_file,
            "-o",
            tmp_path / "out",
            "--data",
            digits_files / "train.npz",
            *("--skip", "prune", "--stress", "none"),
        ],
        "quantize": [onnx_file, "-o", tmp_path / "q.onnx", "--data", digits_files / "train.npz"],
        "check": [onnx_file, onnx_file, "--data", digits_files / "test.npz"],
        "profile": [onnx_file, "--batch", "1,2"],
    }[command]
    code, out, _ = kilnx(command, *arguments, "--json")
    assert code == 0
    assert isinstance(json.loads(out), dict)


def test_a_failed_check_exits_with_one(
    kilnx: Kilnx, onnx_file: Path, digits_files: Path, tmp_path: Path
) -> None:
    model = ir.load(onnx_file)
    bias = next(
        value
        for value in model.graph.initializers.values()
        if value.const_value is not None and value.const_value.shape.numpy() == (10,)
    )
    bias.const_value = ir.tensor(bias.const_value.numpy() + np.float32(1.0))
    ir.save(model, tmp_path / "other.onnx")
    code, out, _ = kilnx(
        "check", onnx_file, tmp_path / "other.onnx", "--data", digits_files / "test.npz"
    )
    assert code == 1
    assert "FAILED" in out


def test_check_against_keras(kilnx: Kilnx, onnx_file: Path, digits_files: Path) -> None:
    code, out, _ = kilnx(
        "check",
        digits_files / "model.keras",
        onnx_file,
        "--data",
        digits_files / "test.npz",
        "--metric",
        "top1",
        "--max-drop",
        "0.0",
    )
    assert code == 0, out


def bad_inputs(folder: Path) -> dict[str, tuple[list[Any], int, str]]:
    """Command lines that must fail: arguments, exit code, part of the message."""
    model, onnx = folder / "model.keras", folder / "model.onnx"
    data = folder / "data.npz"
    images = np.zeros((40, 16, 16, 1), np.float32)
    np.savez(data, image=images, labels=np.zeros(40, np.int64))
    np.savez(folder / "shape.npz", image=np.zeros((4, 8, 8, 1), np.float32))
    np.savez(folder / "empty.npz", image=images[:0])
    np.savez(folder / "counts.npz", image=images, labels=np.zeros(39, np.int64))
    np.savez(folder / "range.npz", image=images, labels=np.full(40, 10))
    np.savez(folder / "names.npz", left=images, right=images)
    np.savez(folder / "nan.npz", image=np.full((40, 16, 16, 1), np.nan, np.float32))
    (folder / "text.npz").write_text("not an archive")
    (folder / "text.onnx").write_text("not a model")
    (folder / "used").mkdir()
    (folder / "used" / "file").write_text("mine")
    out = ["-o", folder / "out"]
    top1 = ["--metric", "top1"]
    return {
        "no such model": (["compress", folder / "none.keras", *out, "--data", data], 2, "no such"),
        "not a model": (["compress", folder / "text.onnx", *out, "--data", data], 2, "text.onnx"),
        "keras for onnx": (["profile", folder / "text.onnx"], 2, "not an ONNX"),
        "no such data": (["compress", onnx, *out, "--data", folder / "no.npz"], 2, "no.npz"),
        "not data": (["compress", onnx, *out, "--data", folder / "text.npz"], 2, "text.npz"),
        "shape": (["compress", onnx, *out, "--data", folder / "shape.npz"], 2, "16"),
        "empty": (["compress", onnx, *out, "--data", folder / "empty.npz"], 2, "empty"),
        "counts": (["compress", onnx, *out, "--data", folder / "counts.npz"], 2, "39"),
        "names": (["compress", onnx, *out, "--data", folder / "names.npz"], 2, "image"),
        "nan": (["compress", onnx, *out, "--data", folder / "nan.npz"], 2, "image"),
        "label range": (
            ["compress", onnx, *out, "--data", data, "--eval", folder / "range.npz", *top1],
            2,
            "10",
        ),
        "metric": (["compress", onnx, *out, "--data", data, "--metric", "best"], 2, "best"),
        "used folder": (["compress", model, "-o", folder / "used", "--data", data], 2, "--force"),
        "no folder": (["convert", model, "-o", folder / "no" / "m.onnx"], 2, "not a folder"),
        "skip": (["compress", onnx, *out, "--data", data, "--skip", "shrink"], 2, "shrink"),
        "batch": (["profile", onnx, "--batch", "1,x"], 2, "--batch"),
        "provider": (["profile", onnx, "--provider", "tpu"], 3, "tpu"),
        "two models": (["dedupe", onnx, onnx, "-o", folder / "d"], 2, "would be called"),
        "no output": (["dedupe", onnx], 2, "-o"),
        "no store": (["dedupe", folder, "--verify"], 2, "is not a store"),
        "usage": (["compress", onnx, "--data", data], 2, "-o"),
    }


CASES = (
    "no such model",
    "not a model",
    "keras for onnx",
    "no such data",
    "not data",
    "shape",
    "empty",
    "counts",
    "names",
    "nan",
    "label range",
    "metric",
    "used folder",
    "no folder",
    "skip",
    "batch",
    "provider",
    "two models",
    "no output",
    "no store",
    "usage",
)


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_line_and_leaves_nothing(
    case: str, kilnx: Kilnx, onnx_file: Path, digits_files: Path, tmp_path: Path
) -> None:
    for name, path in (("model.keras", digits_files), ("model.onnx", onnx_file.parent)):
        (tmp_path / name).write_bytes((path / name).read_bytes())
    arguments, expected, message = bad_inputs(tmp_path)[case]
    before = sorted(tmp_path.rglob("*"))
    code, out, err = kilnx(*arguments, *([] if case == "usage" else ["--quiet"]))
    assert code == expected, err
    assert message in err
    assert "Traceback" not in err
    assert out == ""
    if case != "usage":
        assert err.count("\n") == 1
        assert err.startswith("kilnx: error: ")
    assert sorted(tmp_path.rglob("*")) == before


def test_every_bad_input_is_tried(tmp_path: Path) -> None:
    assert sorted(CASES) == sorted(bad_inputs(tmp_path))


def test_an_interrupt_leaves_nothing(
    kilnx: Kilnx,
    onnx_file: Path,
    digits_files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from converter.compression import compress as pipeline

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "STEPS", dict.fromkeys(pipeline.STEPS, interrupted))
    code, _, err = kilnx(
        "compress", onnx_file, "-o", tmp_path / "out", "--data", digits_files / "train.npz"
    )
    assert code == 130
    assert "nothing was written" in err
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line(
    kilnx: Kilnx, digits_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from converter.export import convert as conversion

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(conversion, "write_model", full)
    code, _, err = kilnx("convert", digits_files / "model.keras", "-o", tmp_path / "m.onnx")
    assert code == 2
    assert "no space left" in err
    assert list(tmp_path.iterdir()) == []


def test_too_little_memory_is_one_line(
    kilnx: Kilnx, digits_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from converter.export import convert as conversion

    def full(*_: Any) -> None:
        np.empty(1 << 60, np.uint8)

    monkeypatch.setattr(conversion, "write_model", full)
    code, _, err = kilnx("convert", digits_files / "model.keras", "-o", tmp_path / "m.onnx")
    assert code == 2
    assert "not enough memory (Unable to allocate" in err
    assert list(tmp_path.iterdir()) == []


def test_standard_output_that_is_full_is_one_line(onnx_file: Path, tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "converter", "inspect", str(onnx_file), "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    assert result.returncode == 2
    assert result.stderr.startswith("kilnx: error: standard output")
    assert result.stderr.count("\n") == 1
