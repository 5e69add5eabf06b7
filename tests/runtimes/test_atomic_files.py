"""Output appears whole or not at all, and never over the user's files."""

import errno
from pathlib import Path

import pytest

from runtimes.atomic_files import atomic_file, atomic_folder, refuse_existing
from runtimes.errors import DataError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "m.onnx") as work:
        work.write_text("model")
        (work.parent / "m.onnx.data").write_text("weights")
        assert names(tmp_path) != ["m.onnx"]
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
    folder.mkdir()
    (folder / "mine").write_text("mine")

    def fail() -> None:
        with atomic_folder(folder, force=True) as work:
            (work / "new").write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert names(folder) == ["mine"]
    with atomic_folder(folder, force=True) as work:
        (work / "new").write_text("new")
    assert names(folder) == ["new"]
    assert names(tmp_path) == ["out"]

    (tmp_path / "m.onnx").write_text("old")
    with atomic_file(tmp_path / "m.onnx", force=True) as file:
        file.write_text("new")
    assert (tmp_path / "m.onnx").read_text() == "new"


def test_the_users_files_are_refused_without_force(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_text("mine")
    (tmp_path / "out").mkdir()
    assert refuse_existing(tmp_path / "out", force=False) == tmp_path / "out"  # empty
    (tmp_path / "out" / "x").write_text("mine")
    with pytest.raises(DataError, match=r"m\.onnx is an existing file; .*--force"):
        refuse_existing(tmp_path / "m.onnx", force=False)
    with pytest.raises(DataError, match=r"existing folder that is not empty; .*--force"):
        refuse_existing(tmp_path / "out", force=False)
    with pytest.raises(DataError, match="none is not a folder; create it first"):
        refuse_existing(tmp_path / "none" / "m.onnx", force=True)


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with (
        pytest.raises(DataError, match="file is a file, and the output is a folder"),
        atomic_folder(tmp_path / "file", force=True),
    ):
        pass
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(DataError, match="folder is a folder, and the output is a file"),
        atomic_file(tmp_path / "folder", force=True),
    ):
        pass
    assert (tmp_path / "file").read_text() == "mine"


def test_data_beside_the_file_are_the_users_too(tmp_path: Path) -> None:
    (tmp_path / "m.onnx.data").write_text("mine")

    def write() -> None:
        with atomic_file(tmp_path / "m.onnx") as work:
            work.write_text("model")
            (work.parent / "m.onnx.data").write_text("weights")

    with pytest.raises(DataError, match=r"m\.onnx\.data is an existing file"):
        write()
    assert names(tmp_path) == ["m.onnx.data"]
    assert (tmp_path / "m.onnx.data").read_text() == "mine"


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "no space left to write .*m.onnx; free some"),
        (errno.EACCES, "not allowed to write .*m.onnx"),
    ],
)
def test_what_the_system_refuses_is_said(tmp_path: Path, number: int, message: str) -> None:
    def write() -> None:
        with atomic_file(tmp_path / "m.onnx") as work:
            work.write_text("half")
            raise OSError(number, "refused")

    with pytest.raises(DataError, match=message):
        write()
    assert names(tmp_path) == []
