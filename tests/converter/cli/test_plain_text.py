"""Tables that fit, words that stay whole, and terminals that show little."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
import onnx.parser
import pytest

from converter.cli.plain_text import table_lines, wrapped

pytestmark = pytest.mark.fast

ROWS = [{"model": "out/fp32.onnx", "size": "875.2 KiB", "latency": "0.307 ms", "top1": "0.9930"}]


@pytest.mark.parametrize("width", [30, 40, 80, None])
def test_a_table_fits_and_holds_every_cell(width: int | None) -> None:
    lines = list(table_lines(ROWS, width))
    assert all(len(line) <= (width or 1000) for line in lines)
    text = "\n".join(lines)
    for name, cell in ROWS[0].items():
        assert name in text
        assert cell in text
    assert not any(line != line.rstrip() for line in lines)


def test_columns_that_do_not_fit_follow_behind_the_names() -> None:
    assert list(table_lines(ROWS, 36)) == [
        "model               size   latency",
        "out/fp32.onnx  875.2 KiB  0.307 ms",
        "",
        "model            top1",
        "out/fp32.onnx  0.9930",
    ]


def test_prose_breaks_between_words_only() -> None:
    path = "/a/very/long-path/that-must-stay/whole.onnx"
    assert wrapped(f"note: see {path}", 20) == ["note: see", path]


RELU = """<ir_version: 8, opset_import: ["" : 18]>
relu (float[n, 4] x) => (float[n, 4] y) { y = Relu(x) }"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("terminal") / "größe.onnx"
    onnx.save(onnx.parser.parse_model(RELU), path)
    return path


def shell(line: str, model: Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    places = {"PYTHONPATH": os.pathsep.join(sys.path), "K": f"{sys.executable} -m converter"}
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        capture_output=True,
        check=False,
        env={**os.environ, **places, "M": str(model), **variables},
    )


def test_a_pipe_that_nobody_reads_is_no_error(model: Path) -> None:
    done = shell("$K inspect $M | true", model)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_full_device_is_one_line(model: Path) -> None:
    done = shell("$K inspect $M > /dev/full", model)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"no space left" in done.stderr


def test_an_error_that_cannot_be_shown_keeps_its_exit_code(model: Path) -> None:
    assert shell("$K inspect no.onnx 2> /dev/full", model).returncode == 2
    assert shell("$K inspect no.onnx 2>&-", model).returncode == 2


def test_what_the_shell_closed_is_no_error(model: Path) -> None:
    done = shell("$K inspect $M >&-", model)
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_ascii_terminal_gets_ascii(model: Path) -> None:
    done = shell("$K inspect $M && $K profile $M --against $M", model, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    done.stdout.decode("ascii")
    assert b"x (" in done.stdout  # the speed-up
