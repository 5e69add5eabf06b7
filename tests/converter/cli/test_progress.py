"""Progress on a pipe and on a terminal, and --quiet."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import onnx.parser
import pytest

from converter.cli.progress import progress

_RELU = """<ir_version: 8, opset_import: ["" : 18]>
relu (float[n, 4] x) => (float[n, 4] y) { y = Relu(x) }"""

Kilnx = Callable[..., tuple[int, str, str]]


class _Terminal(io.StringIO):
    encoding = "ascii"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


@pytest.mark.fast
def test_a_pipe_gets_a_line_a_stage_and_how_long_it_took(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress(patience=0) as say:
        for stage in ("exporting", "judging", "exporting"):  # a search comes back to a stage
            for done in range(3):
                say(stage, done + 1, 3)
    *stages, last = capsys.readouterr().err.splitlines()
    assert stages == ["kilnx: exporting", "kilnx: judging"]
    assert last.startswith("kilnx: took ")


@pytest.mark.fast
def test_a_terminal_shows_the_count_in_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress(patience=0) as say:
        say("judging [red]", 2, 4)
    shown = terminal.getvalue()
    shown.encode("ascii")
    assert "judging [red], 2 of 4" in shown
    assert "judging" in shown


@pytest.mark.fast
def test_quiet_shows_no_progress(
    kilnx: Kilnx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress.__wrapped__, "__defaults__", (0.0,))  # type: ignore[attr-defined]
    model = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(_RELU), model)
    _, _, loud = kilnx("profile", model)
    code, out, quiet = kilnx("profile", model, "--quiet")
    assert code == 0
    assert out
    assert "kilnx: timing" in loud
    assert quiet == ""


@pytest.mark.fast
def test_an_error_does_not_say_how_long_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OSError, match="disk"), progress():
        raise OSError("disk")
    assert "took" not in capsys.readouterr().err


@pytest.mark.fast
def test_what_is_over_at_once_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(patience=600) as say:
        say("reading")
    assert capsys.readouterr().err == ""
