"""A bundle says what was put into it, as a folder or as one file, and always in the same bytes."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from bundles import (
    change_manifest,
    files_of,
    make_bundle,
    make_model,
    make_model_with_data,
    manifest_of,
)

from runtimes import Bundle, open_runtime
from runtimes.bundle import repack, write_bundle
from runtimes.bundle.compatibility import engine_notes, installed_engines
from runtimes.errors import BundleError, DataError

pytestmark = pytest.mark.fast

FORMS = ("bundle", "bundle.kilnx")


@pytest.mark.parametrize("form", FORMS)
def test_a_bundle_has_what_was_put_into_it(tmp_path: Path, form: str) -> None:
    with Bundle.open(make_bundle(tmp_path, form, version="2.0", warmup=b"npz")) as bundle:
        assert (bundle.name, bundle.version) == ("digits", "2.0")
        assert bundle.labels == ("zero", "one", "zwölf", "dreizehn")
        assert bundle.limits == {"max_batch_size": 32}
        assert bundle.policy == {"alpha": 0.001}
        assert bundle.report == {"kilnx": "0.1.0"}
        assert bundle.reference is None
        assert bundle.warmup is not None
        assert bundle.warmup.read_bytes() == b"npz"
        assert bundle.manifest["files"]["warmup.npz"]["size"] == 3
        assert bundle.digest.startswith("sha256:")
        assert not bundle.signed
        assert bundle.notes == ()
        with open_runtime(bundle.model) as runtime:
            found = runtime.run({"x": np.zeros((2, 4), np.float32)})
        np.testing.assert_allclose(found["y"], 0.25)
        bundle.require_unchanged()


def test_folder_and_file_have_the_same_content_and_identity(tmp_path: Path) -> None:
    folder, file = (make_bundle(tmp_path, form) for form in FORMS)
    with Bundle.open(folder) as one, Bundle.open(file) as other:
        assert one.digest == other.digest
        assert files_of(one.folder) == files_of(other.folder)
    assert not other.folder.exists()  # the copies go with the bundle
    assert folder.exists()


def test_an_archive_is_an_ordinary_zip(tmp_path: Path) -> None:
    file = make_bundle(tmp_path, "bundle.kilnx")
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "unzipped")
        assert archive.namelist()[-1] == "kilnx-bundle.json"
    with Bundle.open(file) as one, Bundle.open(tmp_path / "unzipped") as other:
        assert one.digest == other.digest


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    first = make_bundle(tmp_path, "first.kilnx")
    os.utime(tmp_path / "model-of-first.kilnx.onnx", (1, 1))
    second = make_bundle(tmp_path, "second.kilnx")
    assert first.read_bytes() == second.read_bytes()


def test_a_folder_becomes_a_file_and_back(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path)
    with Bundle.open(folder) as bundle:
        repack(bundle, tmp_path / "one.kilnx").close()
    with Bundle.open(tmp_path / "one.kilnx") as bundle:
        repack(bundle, tmp_path / "again").close()
    assert files_of(tmp_path / "again") == files_of(folder)
    assert (tmp_path / "one.kilnx").read_bytes() == make_bundle(tmp_path, "x.kilnx").read_bytes()


@pytest.mark.parametrize("data", ["weights.bin", "sub/weights.bin"])
@pytest.mark.parametrize("form", FORMS)
def test_weights_in_files_of_their_own_come_along(tmp_path: Path, form: str, data: str) -> None:
    model = make_model_with_data(tmp_path / "net.onnx", data)
    with write_bundle(tmp_path / form, model=model, fp32=model, name="net") as bundle:
        assert {data, "model.onnx", "fp32.onnx"} == set(bundle.files)
        assert bundle.model.read_bytes() == model.read_bytes()
        with open_runtime(bundle.model) as runtime:
            found = runtime.run({"x": np.ones((1, 4), np.float32)})["y"]
        assert found.shape == (1, 1024)
        assert found.any()


@pytest.mark.parametrize("data", ["report.json", "fp32.onnx", "fp32.onnx.data", "gewichte ä"])
def test_weights_whose_name_is_taken_move_into_the_model(tmp_path: Path, data: str) -> None:
    model = make_model_with_data(tmp_path / "net.onnx", data)
    with write_bundle(tmp_path / "b", model=model, fp32=model, name="net", report=b"{}") as bundle:
        assert bundle.report == {}
        with open_runtime(bundle.model) as one, open_runtime(model) as other:
            feed = {"x": np.ones((1, 4), np.float32)}
            np.testing.assert_array_equal(one.run(feed)["y"], other.run(feed)["y"])


def test_different_weights_of_one_name_do_not_meet(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    model = make_model_with_data(tmp_path / "net.onnx", "w.bin")
    other = make_model_with_data(tmp_path / "other/net.onnx", "w.bin")
    raw = bytearray((tmp_path / "other/w.bin").read_bytes())
    raw[:4] = np.float32(7).tobytes()
    (tmp_path / "other/w.bin").write_bytes(raw)
    with write_bundle(tmp_path / "b.kilnx", model=model, fp32=other, name="net") as bundle:
        feed = {"x": np.ones((1, 4), np.float32)}
        assert bundle.fp32 is not None
        with open_runtime(bundle.model) as small, open_runtime(bundle.fp32) as large:
            assert large.run(feed)["y"][0, 0] - small.run(feed)["y"][0, 0] == 7


@pytest.mark.parametrize("form", FORMS)
def test_a_bundle_replaces_a_bundle_and_nothing_else(tmp_path: Path, form: str) -> None:
    path = make_bundle(tmp_path, form)
    with pytest.raises(DataError, match="--force"):
        make_bundle(tmp_path, form, version="2")
    make_bundle(tmp_path, form, version="2", force=True)
    with Bundle.open(path) as bundle:
        assert bundle.version == "2"
    if path.is_dir():
        (path / "mine.txt").write_text("mine")
    else:
        path.write_text("mine")
    with pytest.raises(DataError, match="replaces"):
        make_bundle(tmp_path, form, force=True)


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runtimes.bundle import sinks

    written: list[bytes] = []

    def full(content: object) -> object:
        yield b"some"
        written.append(b"")
        raise OSError(28, "No space left on device")

    model = make_model(tmp_path / "m.onnx")
    monkeypatch.setattr(sinks, "_pieces", full)
    for form in FORMS:
        with pytest.raises(DataError, match="no space left"):
            write_bundle(tmp_path / form, model=model, name="net")
    assert written
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_a_full_disk_while_unpacking_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runtimes.bundle import sinks

    def full(content: Iterable[bytes]) -> Iterator[bytes]:
        yield next(iter(content))[:10]
        raise OSError(28, "No space left on device")

    path = make_bundle(tmp_path, "bundle.kilnx")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.setattr(sinks, "_pieces", full)
    with pytest.raises(OSError, match="No space left"):
        Bundle.open(path)
    assert not list(scratch.iterdir())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "../digits"}, "name of a model"),
        ({"name": ""}, "name of a model"),
        ({"version": "1/2"}, "a version"),
        ({"limits": {"x": float("nan")}}, "JSON has no nan"),
        ({"policy": {"x": 2**60}}, "beyond 2"),
        ({"labels": ["\ud800"]}, "written as JSON"),
    ],
)
def test_words_that_cannot_be_written(
    tmp_path: Path, given: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        make_bundle(tmp_path, **given)
    assert not (tmp_path / "bundle").exists()


def test_another_runtime_is_said(tmp_path: Path) -> None:
    here = installed_engines()["onnxruntime"]
    assert engine_notes({"onnxruntime": here}) == ()
    assert engine_notes({"onnxruntime-gpu": f"{here}.post1"}) == ()
    (newer,) = engine_notes({"onnxruntime": "999.1.0"})
    assert f"proven with onnxruntime 999.1.0, and {here} is installed here, an older one" in newer
    (older,) = engine_notes({"onnxruntime": "1.0.0"})
    assert "a newer one" in older
    folder = make_bundle(tmp_path, packages={"onnxruntime": "0.1"})
    with Bundle.open(folder) as bundle:
        assert len(bundle.notes) == 1


def test_an_engine_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtimes.bundle.compatibility.installed_version", lambda _: None)
    assert "not installed here" in engine_notes({"openvino": "2026.0"})[0]


def test_what_changes_after_it_was_opened_is_noticed(tmp_path: Path) -> None:
    with Bundle.open(make_bundle(tmp_path)) as bundle:
        assert bundle.fp32 is not None
        raw = bundle.fp32.read_bytes()
        bundle.fp32.unlink()
        bundle.fp32.write_bytes(raw[:-1] + b"!")
        with pytest.raises(BundleError, match="changed since") as caught:
            bundle.require_unchanged()
        assert caught.value.kind == "changed"


def test_what_the_format_does_not_know_is_passed_over(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path)
    change_manifest(folder, lambda document: document.update(later=[1, {"x": None}]))
    with Bundle.open(folder) as bundle:
        assert bundle.name == "digits"
    assert manifest_of(folder)["later"]


def test_a_link_to_a_bundle_is_no_link_in_it(tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(make_bundle(tmp_path))
    with Bundle.open(tmp_path / "current") as bundle:
        assert bundle.model.is_file()
