"""Load Keras files as live Keras models.

A model file is untrusted: code inside it (Lambda layers, pickled functions) runs only with
``unsafe``. The user's own code (``custom_objects``, ``--custom my_layers.py``) is trusted.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runtimes.errors import DataError, ModelError, RuntimeUnavailable
from runtimes.extras import missing_extra, pip_install
from runtimes.keras_models.archive import load_file
from runtimes.keras_models.live_keras2 import as_keras3, is_live_keras2
from runtimes.keras_models.quick_import import quick_import
from runtimes.keras_models.saved_config import read_config
from runtimes.keras_models.saved_model import is_saved_model, load_saved_model

KerasSource = Any
"""A ``.keras``, HDF5 or JSON file, a SavedModel folder, or a live model of Keras 3 or tf_keras."""

_LARGE_BYTES = 200_000_000


def import_keras() -> Any:
    """Import Keras on TensorFlow without its start-up messages and return the module.

    Raises ``RuntimeUnavailable`` if it is not installed or runs on another backend.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        with _no_native_stderr(), quick_import():
            import keras
            import tensorflow  # noqa: F401  # the messages are printed on import
    except ModuleNotFoundError as error:
        why = f"a Keras model needs them; {error}"
        raise RuntimeUnavailable(missing_extra("TensorFlow with Keras", "keras", why)) from error
    except ImportError as error:
        raise RuntimeUnavailable(
            f"Keras and TensorFlow are installed but do not load ({error}); reinstall them: "
            f"{pip_install('keras', '--force-reinstall')}"
        ) from error
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise RuntimeUnavailable(
            f"Keras runs on its {backend} backend here, but this needs TensorFlow (only convert "
            "and compress use another process for it); save the model as .keras and run the kilnx "
            "command on the file, which selects TensorFlow by itself, or set "
            "KERAS_BACKEND=tensorflow before Keras is imported"
        )
    return keras


@contextmanager
def _no_native_stderr() -> Iterator[None]:
    """Drop what C++ code prints to stderr before TensorFlow's logging can be silenced."""
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
    """Make training reproducible; by default, the order of sums depends on the threads."""
    from tensorflow.config import experimental

    experimental.enable_op_determinism()


def load_keras_model(
    source: KerasSource,
    *,
    custom_objects: Mapping[str, Any] | None = None,
    unsafe: bool = False,
    signature_key: str | None = None,
    weights: str | os.PathLike[str] | None = None,
) -> Any:
    """Return ``source`` as a live Keras model, without its optimizer.

    ``custom_objects`` maps the names that the file uses to classes or functions; a function with
    the name of a Lambda layer replaces that layer's own. ``signature_key`` chooses a signature of
    a SavedModel (see ``load_saved_model``). ``weights`` is a file of weights, for a model in JSON
    or to replace the file's own. Files of Keras 2 are rewritten for Keras 3.

    Raises ``ModelError`` for a file that is missing, damaged or not a Keras model, ``DataError``
    for options that do not fit the source, and ``ConversionError`` if weights, a custom class or
    permission to run code from the file is missing.
    """
    if _is_path(source):
        _spare_memory_for(Path(source))
    keras = import_keras()
    is_folder = _is_path(source) and is_saved_model(source)
    if signature_key is not None and not is_folder:
        raise DataError(
            f"signature_key={signature_key!r} chooses a signature of a SavedModel folder, but "
            "this model is not one; leave it out"
        )
    if weights is not None and (is_folder or not _is_path(source)):
        raise DataError(
            "weights= is for a model in JSON, .keras or HDF5; a live model loads them with "
            "model.load_weights(path), and a SavedModel folder has its own"
        )
    if isinstance(source, keras.Model):
        return source
    if is_live_keras2(source):
        return as_keras3(source)
    if not _is_path(source):
        raise ModelError(
            f"a {type(source).__name__} is not a Keras model; "
            "give a keras.Model, or the path of a .keras or HDF5 file"
        )
    if is_folder:
        return load_saved_model(source, signature_key=signature_key, unsafe=unsafe)
    given = None if weights is None else Path(weights)
    return load_file(read_config(Path(source)), dict(custom_objects or {}), unsafe, given)


def _spare_memory_for(path: Path) -> None:
    """Let TensorFlow return memory to the system, if it is being imported for a large model.

    By default its allocator keeps freed memory, 0.4 GB for VGG16; for small models that is faster.
    """
    if "tensorflow" in sys.modules:
        return
    files = path.rglob("*") if is_saved_model(path) else [path]
    if sum(file.stat().st_size for file in files if file.is_file()) > _LARGE_BYTES:
        os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")


def _is_path(source: KerasSource) -> bool:
    return isinstance(source, str | os.PathLike)


def load_custom_objects(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Run the user's Python file and return its classes and functions by name.

    Names registered with ``keras.saving.register_keras_serializable`` need nothing more. Names
    that are not valid in Python, such as ``<lambda>``, go into a dict called ``CUSTOM_OBJECTS`` in
    the file. Raises ``DataError`` if the file is missing or fails.
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
    named = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value))
    }
    stated = getattr(module, "CUSTOM_OBJECTS", {})
    if not isinstance(stated, dict):
        raise DataError(f"{path}: CUSTOM_OBJECTS must map names to classes and functions")
    return {**named, **stated}
