"""Keras files made into live Keras models.

A model file is untrusted: code inside it (Lambda layers, pickled functions) runs only with
``unsafe``. The user's own code (``custom_objects``, ``--custom my_layers.py``) is theirs and runs.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runtimes.errors import ConversionError, DataError, ModelError, RuntimeUnavailable
from runtimes.saved_model import is_saved_model, load_saved_model

KerasSource = Any
"""A path to a ``.keras`` or HDF5 file or a SavedModel folder, or a live ``keras.Model``."""

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


def import_keras() -> Any:
    """Import Keras on TensorFlow without its start-up noise and give the module back.

    Raises ``RuntimeUnavailable`` where it is not installed or runs on another backend.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        with _no_native_stderr():
            import keras
            import tensorflow  # noqa: F401  # the noise is printed at its import
    except ImportError as error:
        raise RuntimeUnavailable(
            f"Keras and TensorFlow are needed here and cannot be imported ({error}); "
            "mend it with: pip install --force-reinstall kilnx"
        ) from error
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise RuntimeUnavailable(
            f"Keras runs on its {backend} backend here, and kilnx goes through TensorFlow; save "
            "the model as .keras and run kilnx on the file with KERAS_BACKEND=tensorflow"
        )
    return keras


@contextmanager
def _no_native_stderr() -> Iterator[None]:
    """Drop what C++ prints on stderr before TensorFlow's logging can be silenced."""
    sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # no stderr at all
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(null)
        os.close(saved)


def make_deterministic() -> None:
    """Let training give the same weights on every run: by default sums follow the threads."""
    from tensorflow.config import experimental

    experimental.enable_op_determinism()


def load_keras_model(
    source: KerasSource,
    *,
    custom_objects: Mapping[str, Any] | None = None,
    unsafe: bool = False,
    signature_key: str | None = None,
) -> Any:
    """Return the live Keras model behind ``source``, without its optimizer.

    ``custom_objects`` maps the names that the file uses to classes or functions.
    ``signature_key`` chooses a signature of a SavedModel (see ``load_saved_model``). Raises
    ``ModelError`` for a file that is missing, truncated or not a Keras model, ``DataError`` for
    a signature that is not there, and ``ConversionError`` where a custom class, or leave to run
    code from the file, is wanting.
    """
    keras = import_keras()
    if not isinstance(source, keras.Model) and _is_path(source) and is_saved_model(source):
        return load_saved_model(source, signature_key=signature_key, unsafe=unsafe)
    if signature_key is not None:
        raise DataError(
            f"signature_key={signature_key!r} chooses a signature of a SavedModel folder, and "
            "this model is none; leave it out"
        )
    if isinstance(source, keras.Model):
        return source
    if not _is_path(source):
        raise ModelError(
            f"a {type(source).__name__} is not a Keras model; "
            "give a keras.Model, or the path of a .keras or HDF5 file"
        )
    path = Path(source)
    kind = _kind_of(path)
    try:
        if kind == "hdf5":
            model = _load_hdf5(keras, path, dict(custom_objects or {}), unsafe)
        else:
            model = keras.models.load_model(
                path, custom_objects=custom_objects, compile=False, safe_mode=not unsafe
            )
    except (ConversionError, ModelError):
        raise
    except Exception as error:
        raise _explain(path, error) from error
    return model


def _is_path(source: KerasSource) -> bool:
    return isinstance(source, str | os.PathLike)


def load_custom_objects(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Run the user's Python file and return its classes and functions by name.

    Names registered with ``keras.saving.register_keras_serializable`` need nothing more.
    Raises ``DataError`` when the file is missing or fails.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such Python file for --custom")
    spec = importlib.util.spec_from_file_location(f"kilnx_custom_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise DataError(f"{path} is not a Python file; --custom takes a .py file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise DataError(f"{path} failed when it ran: {type(error).__name__}: {error}") from error
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value))
    }


def _kind_of(path: Path) -> str:
    """Tell ``keras`` from ``hdf5`` by content: the ending of a file is only a hint."""
    if not path.exists():
        raise ModelError(f"{path}: no such file")
    if path.is_dir():
        raise ModelError(
            f"{path} is a folder without a saved_model.pb; give a .keras or HDF5 file, or the "
            "folder of a SavedModel"
        )
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if head == _HDF5_MAGIC:
        return "hdf5"
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            missing = {"config.json", "model.weights.h5"} - set(archive.namelist())
        if missing:
            raise ModelError(
                f"{path} is a zip file but not a Keras model: it has no {sorted(missing)[0]}"
            )
        return "keras"
    if head.startswith(b"PK"):
        raise ModelError(f"{path} is a truncated or damaged .keras file; copy it again")
    raise ModelError(f"{path} is neither a .keras nor an HDF5 file")


def _load_hdf5(keras: Any, path: Path, custom_objects: dict[str, Any], unsafe: bool) -> Any:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            has_config = "model_config" in file.attrs
    except OSError as error:
        raise ModelError(f"{path} is a truncated or damaged HDF5 file: {error}") from error
    if not has_config:
        raise ConversionError(
            f"{path} holds weights only, without the model around them; build the model in "
            "Python, call model.load_weights on this file, and pass the live model to convert()"
        )
    # Keras tells HDF5 by the ending alone, and people use .hdf5 and others too.
    from keras.src.legacy.saving import legacy_h5_format

    return legacy_h5_format.load_model_from_hdf5(
        str(path), custom_objects=custom_objects, compile=False, safe_mode=not unsafe
    )


def _explain(path: Path, error: Exception) -> ConversionError | ModelError:
    """Say what is missing, from what Keras says when it cannot load a file."""
    text = str(error)
    if "safe_mode" in text or "unsafe" in text.lower():
        what = "a Lambda layer" if "ambda" in text else "Python code"
        return ConversionError(
            f"{path} holds {what}: loading it runs code from the file ({_first_line(text)}). "
            "If you trust where it comes from, convert it with --unsafe (unsafe=True)"
        )
    unknown = re.search(
        r"(?:Could not locate (?:class|function)|Unknown (?:layer|\w+ ?function|object)[^'\"]*)"
        r"[: ]*['\"]([^'\"]+)['\"]",
        text,
    )
    if unknown:
        name = unknown.group(1)
        return ConversionError(
            f"{path} uses {name!r}, which Keras does not know; give the Python file that "
            f"defines it with --custom my_layers.py, or custom_objects={{{name!r}: …}}"
        )
    return ModelError(
        f"{path} could not be loaded by Keras: {type(error).__name__}: {_first_line(text)}"
    )


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[0][:300]
