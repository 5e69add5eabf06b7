"""Output appears whole or not at all, and never over the user's files."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from runtimes.atomic_files import atomic_file, atomic_folder, output, replace_text
from runtimes.errors import DataError

# The frame of a model: an IR version, a graph and an operator set, all empty but for the first.
MODEL = bytes([0x08, 8, 0x3A, 0, 0x42, 0])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_file(path: Path, content: bytes, *extras: tuple[str, bytes], **rules: object) -> None:
    with atomic_file(path, **rules) as work:  # type: ignore[arg-type]
        work.write_bytes(content)
        for name, more in extras:
            (work.parent / name).write_bytes(more)


def write_folder(path: Path, name: str, **rules: object) -> None:
    with atomic_folder(path, **rules) as work:  # type: ignore[arg-type]
        (work / name).write_text(name)


def all_ours(folder: Path) -> list[str]:
    return []


def test_a_file_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "m.onnx") as work:
        work.write_text("model")
        (work.parent / "m.onnx.data").write_text("weights")
        assert not (tmp_path / "m.onnx").exists()
    assert names(tmp_path) == ["m.onnx", "m.onnx.data"]
    assert (tmp_path / "m.onnx").read_text() == "model"


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_nothing_is_left_of_a_failure(tmp_path: Path, failure: type[BaseException]) -> None:
    def fail_in_file() -> None:
        with atomic_file(tmp_path / "m.onnx") as work:
            work.write_text("half")
            raise failure

    def fail_in_folder() -> None:
        with atomic_folder(tmp_path / "out") as work:
            (work / "report.json").write_text("half")
            raise failure

    for run in (fail_in_file, fail_in_folder):
        with pytest.raises(failure):
            run()
        assert names(tmp_path) == []


def test_what_stood_there_stays_after_a_failure_and_goes_with_force(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write_folder(folder, "old")
    folder.chmod(0o750)

    def fail() -> None:
        with atomic_folder(folder, force=True, foreign=all_ours) as work:
            (work / "new").write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert names(folder) == ["old"]
    write_folder(folder, "new", force=True, foreign=all_ours)
    assert names(folder) == ["new"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750
    assert names(tmp_path) == ["out"]

    (tmp_path / "m.onnx").write_bytes(MODEL)
    (tmp_path / "m.onnx").chmod(0o600)
    write_file(tmp_path / "m.onnx", b"new", force=True)
    assert (tmp_path / "m.onnx").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "m.onnx").stat().st_mode) == 0o600


def test_an_empty_folder_of_the_users_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o700)
    write_folder(tmp_path / "out", "new")
    assert names(tmp_path / "out") == ["new"]
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="file is a file, and the output is a folder"):
        write_folder(tmp_path / "file", "x", force=True)
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="folder is a folder, and the output is a file"):
        write_file(tmp_path / "folder", b"", force=True)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("force", [False, True])
def test_data_beside_the_file_are_the_users_too(tmp_path: Path, force: bool) -> None:
    (tmp_path / "m.onnx.data").write_text("mine")
    with pytest.raises(DataError, match=r"m\.onnx\.data is an existing file that does not belong"):
        write_file(tmp_path / "m.onnx", MODEL, ("m.onnx.data", b"new"), force=force)
    assert names(tmp_path) == ["m.onnx.data"]
    assert (tmp_path / "m.onnx.data").read_text() == "mine"


def test_data_that_the_replaced_file_names_go_with_it(tmp_path: Path) -> None:
    path, data = tmp_path / "m.onnx", tmp_path / "m.onnx.data"
    named = MODEL + bytes([0x32, 11]) + b"m.onnx.data"  # in its doc_string, for the test
    write_file(path, named, ("m.onnx.data", b"old"))
    write_file(path, named, ("m.onnx.data", b"new"), force=True)
    assert data.read_bytes() == b"new"
    with pytest.raises(DataError, match="does not belong"):
        write_file(path, named, ("m.onnx.data", b"newer"), force=True, inputs=[data])
    assert data.read_bytes() == b"new"
    assert names(tmp_path) == ["m.onnx", "m.onnx.data"]


@pytest.mark.parametrize("failing", range(1, 5))
def test_a_move_that_fails_is_undone(
    tmp_path: Path, failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.onnx"
    named = MODEL + bytes([0x32, 11]) + b"m.onnx.data"
    write_file(path, named, ("m.onnx.data", b"old"))
    left = [failing]

    def fail_at(original: Callable[..., object]) -> Callable[..., object]:
        def rename(*arguments: object) -> object:
            left[0] -= 1
            if left[0] == 0:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return original(*arguments)

        return rename

    monkeypatch.setattr(output, "rename_new", fail_at(output.rename_new))
    monkeypatch.setattr(Path, "rename", fail_at(Path.rename))
    with pytest.raises(OSError, match="Input/output"):
        write_file(path, named, ("m.onnx.data", b"new"), force=True)
    assert names(tmp_path) == ["m.onnx", "m.onnx.data"]
    assert path.read_bytes() == named
    assert (tmp_path / "m.onnx.data").read_bytes() == b"old"


def test_without_an_exchange_a_folder_is_replaced_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "exchange", lambda left, right: False)
    write_folder(tmp_path / "out", "old")
    write_folder(tmp_path / "out", "new", force=True, foreign=all_ours)
    assert names(tmp_path / "out") == ["new"]
    assert names(tmp_path) == ["out"]


def test_what_appears_meanwhile_stays(tmp_path: Path) -> None:
    def make_file() -> None:
        with atomic_file(tmp_path / "m.onnx") as work:
            work.write_text("ours")
            (tmp_path / "m.onnx").write_bytes(MODEL)

    def make_folder() -> None:
        with atomic_folder(tmp_path / "out", force=True) as folder:
            (folder / "ours").write_text("ours")
            write_folder(tmp_path / "out", "mine")

    with pytest.raises(DataError, match=r"m\.onnx is an existing file"):
        make_file()
    with pytest.raises(DataError, match="there is mine"):
        make_folder()
    assert (tmp_path / "m.onnx").read_bytes() == MODEL
    assert names(tmp_path / "out") == ["mine"]


@pytest.mark.parametrize("force", [False, True])
def test_what_appears_at_the_last_moment_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    checked = output.refuse_existing
    calls = []

    def appear(path: Path, **rules: object) -> Path:
        found = checked(path, **rules)  # type: ignore[arg-type]
        calls.append(path)
        if len(calls) == 2:
            path.write_text("mine")
        if len(calls) == 4:
            path.mkdir()
            (path / "mine").touch()
        return found

    monkeypatch.setattr(output, "refuse_existing", appear)
    with pytest.raises(DataError, match=r"m\.onnx appeared while this command ran, and stays"):
        write_file(tmp_path / "m.onnx", MODEL, force=force)
    with pytest.raises(DataError, match="out appeared while this command ran, and stays"):
        write_folder(tmp_path / "out", "new", force=force)
    assert (tmp_path / "m.onnx").read_text() == "mine"
    assert names(tmp_path / "out") == ["mine"]
    assert names(tmp_path) == ["m.onnx", "out"]


def test_an_output_that_is_a_link_is_written_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "m.onnx").symlink_to(tmp_path / "far" / "m.onnx")
    write_file(tmp_path / "m.onnx", MODEL)
    write_file(tmp_path / "m.onnx", MODEL, force=True)
    assert (tmp_path / "m.onnx").is_symlink()
    assert names(tmp_path / "far") == ["m.onnx"]
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DataError, match="loop"):
        write_file(tmp_path / "loop", MODEL, force=True)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "no space left to write .*m.onnx; free some"),
        (errno.EACCES, "not allowed to write .*m.onnx"),
        (errno.EFBIG, "m.onnx is larger than a file may be here"),
    ],
)
def test_what_the_system_refuses_is_said(tmp_path: Path, number: int, message: str) -> None:
    def write(*about: str) -> None:
        with atomic_file(tmp_path / "m.onnx") as work:
            work.write_text("half")
            raise OSError(number, "refused", *about)

    with pytest.raises(DataError, match=message):
        write()
    with pytest.raises(OSError, match="refused: '/elsewhere'"):
        write("/elsewhere")
    assert names(tmp_path) == []


def test_text_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    replace_text(path, "old")
    path.chmod(0o600)
    replace_text(path, "neu ü")
    assert path.read_text(encoding="utf-8") == "neu ü"
    with pytest.raises(UnicodeEncodeError):
        replace_text(path, "\ud800")
    assert path.read_text(encoding="utf-8") == "neu ü"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="nowhere"):
        replace_text(tmp_path / "nowhere" / "table.json", "x")
