"""``package``: what of a folder, a file or a bundle goes into a bundle, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import minisign
import numpy as np
import pytest
from bundles import files_of, make_model

from converter import compress, package
from converter.packaging.package import name_after
from runtimes import Bundle, Dataset
from runtimes.errors import BundleError, DataError, ModelError

pytestmark = pytest.mark.fast

X = np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What compress wrote of a small model, with half of X as calibration."""
    folder = tmp_path_factory.mktemp("compressed")
    model = make_model(folder / "net.onnx")
    compress(model, folder / "out", X[:30], evaluate_on=X[30:], steps=["dedupe"], costs="none")
    return folder / "out"


def test_a_bundle_of_what_compress_wrote(compressed: Path, tmp_path: Path) -> None:
    report = package(compressed, tmp_path / "digits.kilnx", X, labels=["a", "b", "c", "d"])
    assert (report.name, report.version, report.signed) == ("digits", "1", False)
    assert "30 samples" in report.notes[0]
    assert "left out" in report.notes[0]
    assert report.digest in report.headline()
    with Bundle.open(tmp_path / "digits.kilnx") as bundle:
        assert {"model.onnx", "fp32.onnx", "report.json", "report.html"} <= set(bundle.files)
        assert bundle.report == json.loads((compressed / "report.json").read_bytes())
        assert bundle.labels == ("a", "b", "c", "d")
        assert bundle.target == "onnxruntime"
        assert set(bundle.manifest["packages"]) == {"onnxruntime"}
        assert bundle.requirements is not None
        assert "\nonnxruntime==" in bundle.requirements.read_text(encoding="utf-8")
        assert bundle.reference is not None
        from runtimes.monitor import Reference

        Reference.from_json(bundle.reference.read_text(encoding="utf-8"))
        assert bundle.warmup is not None
        warmup = next(Dataset.open(bundle.warmup).batches(99)).feed["x"]
        assert len(warmup) == 8
        rows = {row.tobytes() for row in X[30:]}
        assert all(row.tobytes() in rows for row in warmup)


def test_the_same_gives_the_same_bytes(compressed: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        package(compressed, tmp_path / f"{name}.kilnx", X[30:], name="digits")
    assert (tmp_path / "a.kilnx").read_bytes() == (tmp_path / "b.kilnx").read_bytes()
    package(compressed, tmp_path / "folder", X[30:], name="digits")
    package(tmp_path / "folder", tmp_path / "c.kilnx")
    assert (tmp_path / "a.kilnx").read_bytes() == (tmp_path / "c.kilnx").read_bytes()


def test_data_that_calibrated_are_refused(compressed: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"all samples of .* calibrated"):
        package(compressed, tmp_path / "x.kilnx", X[:30])
    assert not (tmp_path / "x.kilnx").exists()
    held_out = package(compressed, tmp_path / "y.kilnx", X[30:])
    assert "no sample of the data calibrated" in held_out.notes[0]


def test_a_part_of_the_digests_refuses_too(
    compressed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtimes.data.sample_digests._MOST", 20)
    with pytest.raises(DataError, match="does not list all"):
        package(compressed, tmp_path / "x.kilnx", X)


def test_a_lone_model(tmp_path: Path) -> None:
    model = make_model(tmp_path / "net.onnx")
    report = package(
        model, tmp_path / "one", {"x": X, "labels": np.array(["b", "a"] * 30)}, labels=[]
    )
    assert "not known" in report.notes[0]
    with Bundle.open(tmp_path / "one") as bundle:
        assert bundle.name == "one"
        assert bundle.fp32 is None
        assert bundle.report is None
        assert bundle.model.read_bytes() == model.read_bytes()
    report = package(model, tmp_path / "none")
    assert "without --data" in report.notes[0]
    assert set(report.files) >= {"model.onnx"}
    assert "reference.json" not in report.files


def test_names_of_classes_come_from_the_data(tmp_path: Path) -> None:
    labels = np.array(["cat", "dog", "eel", "fox"] * 15)
    package(make_model(tmp_path / "net.onnx"), tmp_path / "b", {"x": X, "labels": labels})
    with Bundle.open(tmp_path / "b") as bundle:
        assert bundle.labels == ("cat", "dog", "eel", "fox")


def test_a_bundle_keeps_what_nobody_changes(compressed: Path, tmp_path: Path) -> None:
    first = package(
        compressed, tmp_path / "a.kilnx", X[30:], labels=list("abcd"), limits={"min_sqnr": 20}
    )
    second = package(tmp_path / "a.kilnx", tmp_path / "b", version="2", policy={"alpha": 0.001})
    assert (second.name, second.version) == ("a", "2")
    assert first.digest != second.digest
    with Bundle.open(tmp_path / "a.kilnx") as one, Bundle.open(tmp_path / "b") as other:
        assert one.files == other.files
        assert other.labels == tuple("abcd")
        assert (other.limits, other.policy) == ({"min_sqnr": 20}, {"alpha": 0.001})


def test_a_bundle_is_signed_and_verified(tmp_path: Path) -> None:
    pair = minisign.KeyPair.generate()
    (tmp_path / "key").write_bytes(bytes(pair.secret_key))
    (tmp_path / "pub").write_bytes(bytes(pair.public_key))
    public = str(tmp_path / "pub")
    package(make_model(tmp_path / "net.onnx"), tmp_path / "plain")
    report = package(tmp_path / "plain", tmp_path / "signed.kilnx", sign=tmp_path / "key")
    assert report.signed
    package(tmp_path / "signed.kilnx", tmp_path / "again", verify=public)
    assert files_of(tmp_path / "again")[:-2] == files_of(tmp_path / "plain")[:-1]
    for source, words in ((tmp_path / "plain", {}), (tmp_path / "plain", {"version": "2"})):
        with pytest.raises(BundleError, match="not signed"):
            package(source, tmp_path / "no", verify=public, **words)
    with pytest.raises(DataError, match="only a bundle has a signature"):
        package(tmp_path / "net.onnx", tmp_path / "no", verify=public)
    changed = package(tmp_path / "signed.kilnx", tmp_path / "changed", version="2")
    assert not changed.signed  # what was signed is not what this is


def test_a_model_that_the_report_is_not_about(compressed: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(compressed, tmp_path / "out")
    with (tmp_path / "out/model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(DataError, match="proves nothing"):
        package(tmp_path / "out", tmp_path / "b")
    (tmp_path / "out/report.json").write_text("[")
    with pytest.raises(DataError, match="not a report"):
        package(tmp_path / "out", tmp_path / "b")


def _empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


REFUSED: dict[str, tuple[Callable[[Path], Path], dict[str, Any], type[Exception], str]] = {
    "missing": (lambda f: f / "no", {}, ModelError, "no such file"),
    "empty folder": (_empty, {}, ModelError, "holds no model.onnx"),
    "labels": (lambda f: f / "net.onnx", {"labels": ["a"]}, DataError, "no output has so many"),
    "policy": (lambda f: f / "net.onnx", {"policy": {"speed": 1}}, DataError, "no member 'speed'"),
    "webhook": (
        lambda f: f / "net.onnx",
        {"policy": {"webhook": "http://evil"}},
        DataError,
        "webhook",
    ),
    "name": (lambda f: f / "net.onnx", {"name": "a/b"}, DataError, "name of a model"),
    "data": (lambda f: f / "net.onnx", {"data": X[:, :3]}, DataError, "takes|shape|expected"),
    "key": (lambda f: f / "net.onnx", {"sign": "nowhere.key"}, BundleError, "cannot be read"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_leaves_nothing(tmp_path: Path, name: str) -> None:
    make_model(tmp_path / "net.onnx")
    source, options, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        package(source(tmp_path), tmp_path / "out.kilnx", **options)
    assert not (tmp_path / "out.kilnx").exists()


@pytest.mark.parametrize(
    ("path", "name"),
    [("digits.kilnx", "digits"), ("my model ü.kilnx", "my-model"), ("a.b", "a.b"), ("--", "model")],
)
def test_a_model_is_called_as_its_file(path: str, name: str) -> None:
    assert name_after(Path(path)) == name
