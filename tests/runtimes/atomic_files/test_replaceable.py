"""Only ONNX files, and folders that kilnx wrote, are replaced; never what a command reads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtimes.atomic_files import file_digests, foreign_files, refuse_existing
from runtimes.atomic_files.replaceable import is_onnx_file
from runtimes.errors import DataError

MODEL = bytes([0x08, 8, 0x3A, 0, 0x42, 0])


def model(path: Path) -> Path:
    path.write_bytes(MODEL)
    return path


def test_the_users_files_are_refused_without_force(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_text("mine")
    model(tmp_path / "other.onnx")
    (tmp_path / "out").mkdir()
    assert refuse_existing(tmp_path / "out", force=False) == tmp_path / "out"  # empty
    (tmp_path / "out" / "x").write_text("mine")
    with pytest.raises(DataError, match=r"m\.onnx is an existing file; .*--force"):
        refuse_existing(tmp_path / "m.onnx", force=False)
    with pytest.raises(DataError, match=r"existing file; .* replace it with --force"):
        refuse_existing(tmp_path / "other.onnx", force=False)
    with pytest.raises(DataError, match=r"existing folder that is not empty; .*--force .* is x"):
        refuse_existing(tmp_path / "out", force=False)
    with pytest.raises(DataError, match="replace it with --force"):
        refuse_existing(tmp_path / "out", force=False, foreign=lambda folder: [])
    with pytest.raises(DataError, match="none is not a folder; create it first"):
        refuse_existing(tmp_path / "none" / "m.onnx", force=True)


@pytest.mark.parametrize(
    "content", [b"PK\3\4", b"\x93NUMPY", b"\x89HDF\r\n", b'{"a": 1}', b"import os\n", MODEL[:-2]]
)
def test_force_replaces_no_other_file_than_a_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    assert not is_onnx_file(path)
    with pytest.raises(DataError, match="not an ONNX model, and --force replaces nothing else"):
        refuse_existing(path, force=True)


def test_force_replaces_models_and_empty_files(tmp_path: Path) -> None:
    assert refuse_existing(model(tmp_path / "m.onnx"), force=True)
    (tmp_path / "empty").touch()
    assert refuse_existing(tmp_path / "empty", force=True)


def test_what_is_no_ordinary_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(DataError, match="not an ordinary file"):
            refuse_existing(path, force=True)


@pytest.mark.parametrize("how", ["same", "dots", "symbolic", "hard", "through a folder"])
@pytest.mark.parametrize("force", [False, True])
def test_an_input_is_never_replaced(tmp_path: Path, how: str, force: bool) -> None:
    source = model(tmp_path / "m.onnx")
    output = {
        "same": source,
        "dots": tmp_path / "x" / ".." / "m.onnx",
        "symbolic": tmp_path / "link.onnx",
        "hard": tmp_path / "hard.onnx",
        "through a folder": tmp_path / "folder" / "m.onnx",
    }[how]
    (tmp_path / "x").mkdir()
    (tmp_path / "link.onnx").symlink_to(source)
    (tmp_path / "hard.onnx").hardlink_to(source)
    (tmp_path / "folder").symlink_to(tmp_path)
    with pytest.raises(DataError, match="an output never replaces an input"):
        refuse_existing(output, force=force, inputs=["no such file", None, 3, str(source)])


def test_nothing_in_a_folder_that_is_read_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    inside = model(tmp_path / "store" / "a.onnx")
    with pytest.raises(DataError, match="an output never replaces an input"):
        refuse_existing(inside, force=True, inputs=[tmp_path / "store"])
    assert refuse_existing(tmp_path / "store" / "new.onnx", force=True, inputs=[tmp_path / "store"])
    (tmp_path / "store" / "out").mkdir()
    model(tmp_path / "store" / "out" / "b.onnx")
    with pytest.raises(DataError, match=r"out is part of .*store, which this command reads"):
        refuse_existing(
            tmp_path / "store" / "out",
            force=True,
            inputs=[tmp_path / "store"],
            foreign=lambda folder: [],
        )


def test_a_folder_that_holds_an_input_is_never_replaced(tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    inside = model(output / "m.onnx")
    linked = tmp_path / "hard.onnx"
    linked.hardlink_to(inside)
    for source, message in ((inside, "holds .*m.onnx, which"), (linked, "holds m.onnx, which is")):
        with pytest.raises(DataError, match=message):
            refuse_existing(output, force=True, inputs=[source], foreign=lambda folder: [])


def test_a_folder_with_a_file_of_the_users_is_never_replaced(tmp_path: Path) -> None:
    output = tmp_path / "out"
    (output / "data").mkdir(parents=True)
    for name in ("model.onnx", "train.py", "data/samples.npz"):
        (output / name).write_text(name)
    digests = {"model.onnx": file_digests(output)["model.onnx"]}
    with pytest.raises(DataError, match=r"there is train\.py, data/samples\.npz$"):
        refuse_existing(output, force=True, foreign=lambda f: foreign_files(f, digests))
    with pytest.raises(DataError, match=r"kilnx wrote, and there is model\.onnx, train\.py"):
        refuse_existing(output, force=True)


def test_only_unchanged_files_are_ours(tmp_path: Path) -> None:
    for name in ("same", "changed", "gone", "linked"):
        (tmp_path / name).write_text(name)
    digests = file_digests(tmp_path)
    assert list(foreign_files(tmp_path, digests)) == []
    (tmp_path / "changed").write_text("other")
    (tmp_path / "gone").unlink()
    (tmp_path / "linked").unlink()
    (tmp_path / "linked").symlink_to(tmp_path / "same")
    (tmp_path / "empty").mkdir()
    assert sorted(foreign_files(tmp_path, digests)) == ["changed", "empty/", "linked"]


def test_the_current_folder_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    for path in (Path(), Path(".."), tmp_path):
        with pytest.raises(DataError, match="the current folder or holds it"):
            refuse_existing(path, force=True, foreign=lambda folder: [])
