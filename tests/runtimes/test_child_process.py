"""What is alike in processes that kilnx starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtimes.child_process import last_line, python_path, signal_name
from runtimes.errors import DataError, KilnxError, error_class

pytestmark = pytest.mark.fast


def test_a_child_imports_this_kilnx_from_any_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import runtimes; print(runtimes.__file__)"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": python_path()},
        capture_output=True,
        text=True,
        check=True,
    )
    import runtimes

    assert Path(done.stdout.strip()).samefile(str(runtimes.__file__))


def test_places_that_were_given_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{os.pathsep}{tmp_path}")
    first, *others = python_path().split(os.pathsep)
    assert (Path(first) / "runtimes").is_dir()
    assert others == [str(tmp_path.resolve())]


@pytest.mark.parametrize(
    ("code", "name"), [(-9, "SIGKILL"), (-11, "SIGSEGV"), (-200, "signal 200")]
)
def test_signals_have_names(code: int, name: str) -> None:
    assert signal_name(code) == name


@pytest.mark.parametrize(
    ("printed", "line"),
    [(b"", ""), (b"\n \n", ""), (b"one\ntwo\n\n", "two"), (b"x" * 9000, "x" * 200)],
)
def test_the_last_line_is_read_from_the_end(tmp_path: Path, printed: bytes, line: str) -> None:
    (tmp_path / "log").write_bytes(printed)
    with (tmp_path / "log").open("rb") as file:
        assert last_line(file) == line


@pytest.mark.parametrize("name", ["first_line", "annotations", "nothing", "__name__"])
def test_only_errors_are_found_by_name(name: str) -> None:
    assert error_class(name) is None
    assert error_class("DataError") is DataError
    assert issubclass(error_class("UnsupportedOperator") or object, KilnxError)
