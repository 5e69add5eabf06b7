"""What is wrong with a command line is said before anything large is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from runtimes.onnx_files.load_save import write_model

# In a process of its own, because this one has imported everything already.
_RUN = """
import io, json, sys
from contextlib import redirect_stderr
from converter.cli import app
from converter.cli.console import run_cli
for line in sys.stdin.read().splitlines():
    with redirect_stderr(io.StringIO()) as said:
        code = run_cli(app, line.split())
    large = {"tensorflow", "keras", "onnx", "onnx_ir", "onnxruntime", "numpy"} & set(sys.modules)
    print(json.dumps([code, sorted(large), said.getvalue()]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that commands are given; not to be written to."""
    folder = tmp_path_factory.mktemp("at_once")
    np.savez(folder / "d.npz", x=np.zeros((4, 2), np.float32))
    (folder / "m.keras").touch()
    head = '<ir_version: 9, opset_import: ["" : 18]> g (float[N, 2] x) => (float[N, 2] y)'
    write_model(ir.from_onnx_text(f"{head} {{ y = Relu(x) }}"), folder / "float.onnx")
    body = """{
        s = Constant<value = float {0.1}>()  z = Constant<value = uint8 {0}>()
        q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z) }"""
    write_model(ir.from_onnx_text(f"{head} {body}"), folder / "int8.onnx")
    return folder


WRONG = [
    ("convert missing.keras -o o.onnx", "missing.keras: no such file"),
    ("convert missing.keras -o o.onnx --weights w.h5", "missing.keras: no such file"),
    ("compress missing.keras -o out --data d.npz", "missing.keras: no such file"),
    ("compress float.onnx -o out --data no.npz", "no.npz: no such file or folder"),
    ("compress float.onnx -o out --data d.npz --eval no.npz", "no.npz: no such file or"),
    ("compress float.onnx -o out --data d.npz --custom no.py", "no such Python file"),
    ("compress float.onnx -o out --data d.npz --decisions no.json", "no.json cannot be read"),
    ("compress float.onnx -o out --data d.npz --skip shrink", "there is no step 'shrink'"),
    ("compress float.onnx -o out --data d.npz --skip prun", "did you mean 'prune'?"),
    ("compress m.keras -o out --data d.npz --provider cpus", "did you mean 'cpu'?"),
    ("compress m.keras -o out --data d.npz --metric tpo1", "did you mean 'top1'?"),
    ("prune float.onnx -o o.onnx --data d.npz --metric topp1:y", "did you mean 'top1:y'?"),
    ("quantize float.onnx -o o.onnx --data d.npz --metric recall", "no metric 'recall'"),
    (
        "quantize float.onnx -o o.onnx --data d.npz --metric no.such:f",
        "no module named 'no.such'",
    ),
    ("quantize float.onnx -o o.onnx --data d.npz --batch 1,x", "is not a list of numbers"),
    ("check m.keras float.onnx --data d.npz --metric top1=much", "behind = stands its"),
    ("check m.keras float.onnx --data d.npz --metric auk", "did you mean 'auc'?"),
    ("check m.keras float.onnx --data d.npz --provider gpu", "there is no provider 'gpu'"),
    ("check m.keras float.onnx --data d.npz --optimization most", "there are disabled, basic"),
    ("profile m.keras --provider opnvino", "did you mean 'openvino'?"),
    ("profile float.onnx --target opnvino", "no target 'opnvino' (did you mean 'openvino'?)"),
    ("convert m.keras -o o.onnx --target ncn", "did you mean 'ncnn'?"),
    ("quantize float.onnx -o o.onnx --data d.npz --target gpu", "there is no target 'gpu'"),
    ("profile m.keras --threads none", "is not a list of numbers"),
    ("dedupe float.onnx -o o.onnx --near 0.1 --data d.npz --metric mea", "no metric 'mea'"),
    ("compress int8.onnx -o out --data d.npz", "is quantized already"),
    ("quantize int8.onnx -o o.onnx --data d.npz", "is quantized already"),
    ("prune int8.onnx -o o.onnx", "is quantized already"),
    ("check missing.h5 float.onnx --data d.npz", "missing.h5: no such file"),
    ("profile missing.onnx", "missing.onnx: no such file"),
    ("profile float.onnx --against missing.keras", "missing.keras: no such file"),
    ("dedupe float.onnx missing.onnx -o store", "missing.onnx: no such file"),
]


@pytest.fixture(scope="module")
def answers(folder: Path) -> dict[str, tuple[int, list[str], str]]:
    """By command line, all given to one process: exit code, what large is imported, stderr."""
    lines = [arguments for arguments, _ in WRONG]
    found = subprocess.run(
        [sys.executable, "-c", _RUN],
        input="\n".join(lines),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip(lines, map(json.loads, found.stdout.splitlines()), strict=True))


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_before_anything_large_is_imported(
    answers: dict[str, tuple[int, list[str], str]], arguments: str, message: str
) -> None:
    code, large, said = answers[arguments]
    assert (code, large) == (3 if "--provider" in arguments else 2, [])
    assert message in said
    assert said.count("\n") == 1


def test_what_is_said_later_is_the_same(folder: Path) -> None:
    from converter.cli.at_once import refuse_quantized_file
    from quantizers.rewrites.prepare import refuse_quantized
    from runtimes import load_model
    from runtimes.errors import ModelError

    said = []
    for refuse in (
        lambda: refuse_quantized(load_model(folder / "int8.onnx")),
        lambda: refuse_quantized_file(folder / "int8.onnx"),
    ):
        with pytest.raises(ModelError) as error:
            refuse()
        said.append(str(error.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("content", [b"", b"\xff\xff", b"\x3a\x05\x0a", b"not a model at all"])
def test_a_damaged_file_is_left_to_whoever_reads_it(tmp_path: Path, content: bytes) -> None:
    from converter.cli.at_once import refuse_quantized_file

    (tmp_path / "m.onnx").write_bytes(content)
    refuse_quantized_file(tmp_path / "m.onnx")
    refuse_quantized_file(tmp_path / "none.onnx")
