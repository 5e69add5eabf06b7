"""A Keras file's configuration, read without building anything from it."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from runtimes.errors import ConversionError, ModelError

Container = Literal["keras", "folder", "hdf5", "json"]

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_PARTS = {"config.json", "model.weights.h5"}


@dataclass(frozen=True)
class SavedConfig:
    """The configuration of a model and the major version of the Keras that wrote it.

    ``container``: a ``.keras`` file, the same unzipped, HDF5, or only JSON. ``training``: what the
    model was compiled with, and ``version``: the full version of that Keras, if the file records
    them.
    """

    path: Path
    container: Container
    config: dict[str, Any]
    major: int
    training: Any = None
    version: str = ""


def read_config(path: Path) -> SavedConfig:
    """Read the configuration in a Keras file, whose format is recognized by its content.

    Raises ``ModelError`` for a file that is missing, damaged or not a Keras file, and
    ``ConversionError`` for one that holds only weights.
    """
    if not path.exists():
        raise ModelError(f"{path}: no such file")
    if path.is_dir():
        if not all((path / part).is_file() for part in _PARTS):
            raise ModelError(
                f"{path} is a folder without a saved_model.pb; give a .keras or HDF5 file, or "
                "the folder of a SavedModel"
            )
        version = _version_of(_parsed(path, (path / "metadata.json").read_text("utf-8")))
        config = _parsed(path, (path / "config.json").read_text("utf-8"))
        major = _major(version) or 3
        return SavedConfig(path, "folder", config, major, config.get("compile_config"), version)
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if head == _HDF5_MAGIC:
        return _from_hdf5(path)
    if zipfile.is_zipfile(path):
        return _from_archive(path)
    if head.startswith(b"PK"):
        raise ModelError(f"{path} is a truncated or damaged .keras file; copy it again")
    if head.lstrip()[:1] == b"{":
        return _from_json(path)
    raise ModelError(f"{path} is neither a .keras nor an HDF5 file, nor a model in JSON")


def _from_archive(path: Path) -> SavedConfig:
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        if missing := sorted(_PARTS - names):
            raise ModelError(f"{path} is a zip file but not a Keras model: it has no {missing[0]}")
        try:
            config = archive.read("config.json").decode("utf-8")
            metadata = archive.read("metadata.json") if "metadata.json" in names else b"{}"
        except (zipfile.BadZipFile, UnicodeDecodeError, EOFError) as error:
            raise ModelError(f"{path} is a damaged .keras file ({error}); copy it again") from error
    version = _version_of(_parsed(path, metadata.decode("utf-8", "replace")))
    parsed = _parsed(path, config)
    training = parsed.get("compile_config")
    return SavedConfig(path, "keras", parsed, _major(version) or 3, training, version)


def _from_hdf5(path: Path) -> SavedConfig:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
            training = file.attrs.get("training_config")
            version = file.attrs.get("keras_version")
            inside = file.get("model_weights", getlink=True) if "model_weights" in file else None
            if version is None and isinstance(inside, h5py.HardLink):
                version = file["model_weights"].attrs.get("keras_version")
    except (OSError, RuntimeError) as error:
        raise ModelError(f"{path} is a truncated or damaged HDF5 file: {error}") from error
    if text is None:
        raise ConversionError(
            f"{path} holds only weights, not the model; give the model's JSON "
            "(model.to_json()) together with --weights (weights=) for this file, or build the "
            "model in Python, call model.load_weights on this file and pass the live model"
        )
    config, known = _parsed(path, _text(text)), _known(training)
    return SavedConfig(path, "hdf5", config, _major(version) or 1, known)


def _known(training: Any) -> Any:
    """The training configuration of an HDF5 file; no more than that it exists if it is damaged."""
    if training is None:
        return None
    try:
        return json.loads(_text(training)) or {"loss": None}
    except (json.JSONDecodeError, RecursionError):
        return {"loss": None}


def _from_json(path: Path) -> SavedConfig:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is not a model in JSON: {error}") from error
    config = _parsed(path, text)
    # Keras 3 records the module of every class; Keras 1 and 2 record their version.
    major = _major(config.get("keras_version")) or (3 if "module" in config else 1)
    return SavedConfig(path, "json", config, major)


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ModelError(f"{path} holds a configuration that is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise ModelError(f"{path} holds a configuration that is not a Keras model")
    return parsed


def _version_of(metadata: dict[str, Any]) -> str:
    return str(metadata.get("keras_version") or "")


def _major(version: Any) -> int | None:
    head = _text(version).partition(".")[0] if version is not None else ""
    return int(head) if head.isdigit() else None


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
