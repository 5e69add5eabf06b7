"""Where models are found, what they are called, and which versions are chosen."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from runtimes.errors import DataError
from runtimes.serving.sources import Source, Sources, choose_versions, version_order

pytestmark = pytest.mark.fast


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def found(*models: object, repository: Path | None = None) -> dict[str, list[str]]:
    sources = Sources(tuple(map(str, models)), repository).find()
    return {name: [one.version for one in versions] for name, versions in sources.items()}


def test_names(tmp_path: Path) -> None:
    plain = touch(tmp_path / "a b.onnx")
    folder = touch(tmp_path / "out" / "model.onnx").parent
    assert found(plain, f"other={plain}", folder) == {"a_b": ["1"], "other": ["1"], "out": ["1"]}


@pytest.mark.parametrize(("place", "central"), [(6, 8), (8, 10)])
def test_a_zip_that_cannot_be_read_is_no_bundle(tmp_path: Path, place: int, central: int) -> None:
    """Encrypted, or compressed in a way that nobody knows."""
    path = tmp_path / "net.kilnx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("kilnx-bundle.json", "{}")
    raw = bytearray(path.read_bytes())
    for at in (place, raw.rindex(b"PK\x01\x02") + central):
        raw[at] |= 97
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"is no bundle.*kilnx package"):
        found(path)


def test_a_path_with_an_equals_sign_is_a_path(tmp_path: Path) -> None:
    assert found(touch(tmp_path / "x=1.onnx")) == {"x_1": ["1"]}


def test_folders_of_versions(tmp_path: Path) -> None:
    for version in ("1", "9", "10"):
        touch(tmp_path / "net" / version / "model.onnx")
    touch(tmp_path / "net" / "notes" / "model.onnx")
    assert sorted(found(tmp_path / "net")["net"], key=version_order) == ["1", "9", "10"]


def test_a_repository_skips_what_is_no_model(tmp_path: Path) -> None:
    touch(tmp_path / "a.onnx")
    touch(tmp_path / "b" / "2" / "model.onnx")
    touch(tmp_path / "readme.txt")
    touch(tmp_path / ".hidden.onnx")
    touch(tmp_path / "c" / "something")
    touch(tmp_path / "broken.kilnx")
    assert found(repository=tmp_path) == {"a": ["1"], "b": ["2"]}


@pytest.mark.parametrize(
    ("given", "says"),
    [("no.onnx", "no such file"), ("../x=.", "is no name"), ("empty", "holds no model.onnx")],
)
def test_what_cannot_be_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=says):
        found(given)


def test_one_name_twice(tmp_path: Path) -> None:
    model = touch(tmp_path / "a.onnx")
    with pytest.raises(DataError, match="two models are called 'a'"):
        found(model, model)


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        ("latest", ["10"]),
        ("latest:2", ["9", "10"]),
        ("latest:9", ["1", "9", "10"]),
        ("all", ["1", "9", "10"]),
        ("1, 9", ["1", "9"]),
        ("4", []),
    ],
)
def test_policies(policy: str, chosen: list[str]) -> None:
    sources = [Source("a", version, Path()) for version in ("10", "1", "9")]
    assert [one.version for one in choose_versions(sources, policy)] == chosen


@pytest.mark.parametrize("policy", ["latest:0", "latest:x", "", "1,,2"])
def test_policies_that_are_none(policy: str) -> None:
    with pytest.raises(DataError, match="latest, latest:N, all"):
        choose_versions([], policy)


def test_order() -> None:
    versions = ["1.10", "1.9", "2", "10", "1"]
    assert sorted(versions, key=version_order) == ["1", "1.9", "1.10", "2", "10"]


def test_the_state_changes_with_the_file(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.onnx")
    source = Source("a", "1", path)
    before = source.state()
    assert source.state() == before
    touch(tmp_path / "b").replace(path)
    assert source.state() != before
