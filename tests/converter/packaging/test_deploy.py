"""A deployment appears whole or not at all, and replaces only what was written before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bundles import make_bundle, make_model

from converter.packaging.deploy import EXPORTERS, RECORD, deploy
from converter.packaging.deploy_source import deploy_source
from converter.packaging.options import DeployOptions
from converter.packaging.package import PackageOptions
from runtimes.atomic_files import file_digests
from runtimes.errors import BundleError, DataError

pytestmark = pytest.mark.fast


def hidden(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith(".")]


def test_the_record_has_every_file(tmp_path: Path) -> None:
    report = deploy(make_bundle(tmp_path), tmp_path / "out", "mlflow")
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    found = file_digests(tmp_path / "out")
    del found[RECORD]
    assert record["files"] == report.files == found
    assert (record["to"], record["bundle"]) == ("mlflow", report.bundle)
    assert json.loads(json.dumps(report.to_dict()))["files"] == found


def test_the_readme_says_what_comes_next(tmp_path: Path) -> None:
    report = deploy(make_bundle(tmp_path), tmp_path / "out", "triton")
    text = (tmp_path / "out/README.txt").read_text()
    assert all(step in text for step in (*report.next_steps, *report.notes))


def test_the_same_bundle_gives_the_same_files(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    for to in ("triton", "mlflow"):
        first = deploy(bundle, tmp_path / f"{to}1", to)
        assert first.files == deploy(bundle, tmp_path / f"{to}2", to).files


def test_only_what_was_written_before_is_replaced(tmp_path: Path) -> None:
    bundle, output = make_bundle(tmp_path), tmp_path / "out"
    deploy(bundle, output, "triton")
    with pytest.raises(DataError, match="replace it with --force"):
        deploy(bundle, output, "mlflow")
    deploy(bundle, output, "mlflow", force=True)
    assert not (output / "repository").exists()
    (output / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"there is notes\.txt"):
        deploy(bundle, output, "triton", force=True)
    (output / "notes.txt").unlink()
    (output / "model/MLmodel").write_text("changed")
    with pytest.raises(DataError, match="there is model/MLmodel"):
        deploy(bundle, output, "triton", force=True)
    assert (output / "model/MLmodel").read_text() == "changed"


def test_a_folder_with_a_false_record_is_not_replaced(tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    for text in ("", "[]", '{"files": 3}', '{"files": {"other": "0"}}'):
        (output / RECORD).write_text(text)
        (output / "mine").write_text("mine")
        with pytest.raises(DataError, match="replaces only what kilnx wrote"):
            deploy(make_bundle(tmp_path, f"b{len(text)}"), output, "mlflow", force=True)
        assert (output / "mine").read_text() == "mine"


def test_a_bundle_is_never_replaced_by_its_deployment(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    for output in (bundle, bundle / "out"):
        with pytest.raises(DataError):
            deploy(bundle, output, "mlflow", force=True)
    assert not (bundle / "out").exists()


def test_a_bundle_that_was_changed_is_refused(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    raw = bytearray((bundle / "model.onnx").read_bytes())
    raw[-1] ^= 1
    (bundle / "model.onnx").write_bytes(raw)
    with pytest.raises(BundleError):
        deploy(bundle, tmp_path / "out", "triton")
    assert not (tmp_path / "out").exists()
    assert not hidden(tmp_path)


def test_a_system_that_does_not_exist_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no system is called 'tritn' \(did you mean 'triton'\?\)"):
        deploy(make_bundle(tmp_path), tmp_path / "out", "tritn")


GIVEN: dict[str, Any] = {
    "name": "b",
    "image": "a:1",
    "replicas": 2,
    "cpus": 2,
    "max_batch": 2,
    "with_server": True,
}
UNUSED = [(to, option) for to in EXPORTERS for option in sorted({*GIVEN} - EXPORTERS[to].uses)]


@pytest.mark.parametrize(("to", "option"), UNUSED)
def test_an_option_without_a_meaning_is_refused(tmp_path: Path, to: str, option: str) -> None:
    spelled = option.replace("_", "-")
    with pytest.raises(DataError, match=rf"--{spelled} has no meaning for {to}"):
        deploy(tmp_path / "none", tmp_path / "out", to, DeployOptions(**{option: GIVEN[option]}))


def test_counts_below_one_are_refused() -> None:
    with pytest.raises(DataError, match="cpus is 0, and must be 1 or more"):
        DeployOptions(cpus=0)
    with pytest.raises(DataError, match="max_replicas is 2, less than replicas, 3"):
        DeployOptions(replicas=3, max_replicas=2)


def test_a_model_is_packaged_on_the_way(tmp_path: Path) -> None:
    model = make_model(tmp_path / "net.onnx")
    packaged = PackageOptions(name="digits", version="4", labels=["a", "b", "c", "d"])
    report = deploy_source(model, tmp_path / "out", "triton", packaged=packaged)
    folder = tmp_path / "out/repository/digits"
    assert (folder / "4/model.onnx").is_file()
    assert (folder / "labels.txt").read_text() == "a\nb\nc\nd\n"
    assert any("without --data" in note for note in report.notes)
    assert not hidden(tmp_path)


def test_a_name_renames_the_deployment_of_a_bundle_and_not_the_bundle(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    packaged = PackageOptions(name="other")
    report = deploy_source(bundle, tmp_path / "out", "triton", packaged=packaged)
    assert (tmp_path / "out/repository/other/config.pbtxt").is_file()
    assert report.bundle == deploy(bundle, tmp_path / "again", "triton").bundle


def test_a_signature_is_made_before(tmp_path: Path) -> None:
    packaged = PackageOptions(sign="key")
    with pytest.raises(DataError, match="sign the bundle, then write it for triton"):
        deploy_source(make_bundle(tmp_path), tmp_path / "out", "triton", packaged=packaged)
