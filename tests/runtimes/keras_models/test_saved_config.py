"""Which kind of file it is, and which Keras wrote it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtimes.errors import ConversionError, ModelError
from runtimes.keras_models.saved_config import read_config

DENSE: dict[str, Any] = {"class_name": "Sequential", "config": {"name": "model", "layers": []}}


def archive(path: Path, **parts: Any) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in parts.items():
            file.writestr(name.replace("_", ".", 1), content)
        file.writestr("model.weights.h5", b"")
    return path


def test_an_archive(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "odd.name",
        config_json=json.dumps(DENSE),
        metadata_json=json.dumps({"keras_version": "2.13.1"}),
    )
    saved = read_config(path)
    assert (saved.container, saved.major, saved.config) == ("keras", 2, DENSE)
    assert read_config(archive(tmp_path / "new.keras", config_json=json.dumps(DENSE))).major == 3


def test_an_archive_that_was_unpacked(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(DENSE))
    (tmp_path / "metadata.json").write_text(json.dumps({"keras_version": "3.4.0"}))
    (tmp_path / "model.weights.h5").write_bytes(b"")
    saved = read_config(tmp_path)
    assert (saved.container, saved.major) == ("folder", 3)


@pytest.mark.parametrize(("version", "major"), [("3.1.0", 3), ("2.0.5", 2), (None, 1)])
def test_hdf5(keras2_hdf5: Callable[..., Path], version: str | None, major: int) -> None:
    saved = read_config(keras2_hdf5(DENSE, {}, version=version, name="model.hdf5"))
    assert (saved.container, saved.major, saved.config) == ("hdf5", major, DENSE)


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    for extra, major in (
        ({"keras_version": "2.4.0", "backend": "tensorflow"}, 2),
        ({"module": "keras", "registered_name": None}, 3),
        ({}, 1),
    ):
        path.write_text("\n" + json.dumps(DENSE | extra))
        assert (read_config(path).container, read_config(path).major) == ("json", major)


def test_weights_alone(keras2_hdf5: Callable[..., Path]) -> None:
    with pytest.raises(ConversionError, match=r"only weights.*to_json.*--weights"):
        read_config(keras2_hdf5(None, {}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "neither a .keras nor an HDF5 file, nor a model in JSON"),
        (b"PK\x03\x04 cut off", "truncated or damaged .keras"),
        (b"\x89HDF\r\n\x1a\n cut off", "truncated or damaged HDF5"),
        (b'{"class_name": "Sequen', "not JSON"),
        (b'{"class_name": "\xff"}', "not a model in JSON"),
    ],
)
def test_damage(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "model").write_bytes(content)
    with pytest.raises(ModelError, match=said):
        read_config(tmp_path / "model")


def test_archives_of_something_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as file:
        file.writestr("readme", "hello")
    with pytest.raises(ModelError, match=r"it has no config\.json"):
        read_config(tmp_path / "model.keras")
    with pytest.raises(ModelError, match="not a Keras model"):
        read_config(archive(tmp_path / "list.keras", config_json="[]"))
    path = archive(tmp_path / "broken.keras", config_json=json.dumps(DENSE))
    path.write_bytes(path.read_bytes().replace(b'"Sequential"', b'"Sequentiam"', 1))
    with pytest.raises(ModelError, match=r"damaged \.keras file"):
        read_config(path)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        read_config(tmp_path / "missing.keras")
    with pytest.raises(ModelError, match=r"folder without a saved_model\.pb"):
        read_config(tmp_path)
