"""What a killed process leaves is removed by the next one; what a live one has is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtimes.atomic_files import atomic_file, scratch_folder, workspace
from runtimes.atomic_files.workspace import remove_dead

MODEL = bytes([0x08, 8, 0x3A, 0, 0x42, 0])

WORKER = """
import sys, time
from pathlib import Path
from runtimes.atomic_files.workspace import workspace
with workspace(Path(sys.argv[1])) as folder:
    (folder / "file").write_text("half")
    print(folder, flush=True)
    time.sleep(600)
"""


def start(folder: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_the_next_process_cleans_up_after_a_killed_one(tmp_path: Path) -> None:
    process, folder = start(tmp_path)
    try:
        remove_dead(tmp_path)
        assert (folder / "file").exists()  # it lives
    finally:
        end(process)
    assert folder.exists()
    with atomic_file(tmp_path / "m.onnx") as work:
        work.write_bytes(MODEL)
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_a_folder_of_this_process_is_not_taken_for_dead(tmp_path: Path) -> None:
    with workspace.workspace(tmp_path) as outer, workspace.workspace(tmp_path) as inner:
        remove_dead(tmp_path)
        assert outer.exists()
        assert inner.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_only_looks_like_a_workspace_stays(tmp_path: Path) -> None:
    (tmp_path / ".kilnx-notes").mkdir()
    (tmp_path / ".kilnx-0123abcd-abcdefgh").symlink_to(tmp_path / ".kilnx-notes")
    (tmp_path / ".kilnx-0123abcd-zzzzzzzz").write_text("a file")
    remove_dead(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_that_of_another_machine_has_to_be_old(tmp_path: Path) -> None:
    folder = tmp_path / ".kilnx-00000000-abcdefgh"
    folder.mkdir()
    (folder / "file").touch()
    remove_dead(tmp_path)
    assert folder.exists()
    yesterday = time.time() - 100_000
    os.utime(folder / "file", (yesterday, yesterday))
    remove_dead(tmp_path)
    assert folder.exists()
    os.utime(folder, (yesterday, yesterday))
    remove_dead(tmp_path)
    assert not folder.exists()


@pytest.mark.parametrize("moved", ["nothing", "old", "data", "all"])
def test_a_move_that_was_killed_is_undone_or_complete(tmp_path: Path, moved: str) -> None:
    folder = tmp_path / f".kilnx-{workspace._host()}-abcdefgh"
    for name in ("new", "old"):
        (folder / name).mkdir(parents=True)
    for name in ("m.onnx", "m.onnx.data"):
        (folder / "new" / name).write_text("new")
        (tmp_path / name).write_text("old")
    inode = (folder / "new" / "m.onnx.data").stat().st_ino
    (folder / "moved.json").write_text(f'{{"name": "m.onnx", "files": {{"m.onnx.data": {inode}}}}}')
    if moved != "nothing":
        for name in ("m.onnx", "m.onnx.data"):
            (tmp_path / name).rename(folder / "old" / name)
    if moved in {"data", "all"}:
        (folder / "new" / "m.onnx.data").rename(tmp_path / "m.onnx.data")
    if moved == "all":
        (folder / "new" / "m.onnx").rename(tmp_path / "m.onnx")
    remove_dead(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    expected = "new" if moved == "all" else "old"
    assert {path.read_text() for path in tmp_path.iterdir()} == {expected}


@pytest.mark.parametrize("journal", ["", "[]", "{}", '{"name": 1, "files": 2}', "{" * 10_000])
def test_a_journal_that_cannot_be_read_changes_nothing(tmp_path: Path, journal: str) -> None:
    folder = tmp_path / f".kilnx-{workspace._host()}-abcdefgh"
    (folder / "new").mkdir(parents=True)
    (folder / "moved.json").write_text(journal)
    (tmp_path / "mine").write_text("mine")
    remove_dead(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as a terminal has it, whatever an engine or a runner made of it before."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)


@pytest.mark.usefixtures("interruptible")
def test_a_signal_while_it_cleans_up_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed = workspace.shutil.rmtree

    def interrupted(*arguments: object, **options: object) -> None:
        signal.raise_signal(signal.SIGINT)
        removed(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(workspace.shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt), workspace.workspace(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_scratch_folders_are_where_the_system_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with scratch_folder() as folder:
        assert folder.parent == tmp_path
        (folder / "file").touch()
    assert list(tmp_path.iterdir()) == []


def test_without_locks_nothing_is_taken_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(workspace.fcntl, "flock", unknown)
    with workspace.workspace(tmp_path) as folder:
        remove_dead(tmp_path)
        assert folder.exists()
    assert not folder.exists()
