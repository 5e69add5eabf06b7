"""Keras as the reference runtime. TensorFlow is imported inside functions only."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from runtimes.base import Array, Feed, TensorSpec
from runtimes.errors import ConversionError, KilnxError, ModelError, RuntimeUnavailable
from runtimes.feed import check_feed, check_outputs
from runtimes.keras_signature import KerasSignature, keras_signature

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


def quiet_tensorflow() -> None:
    """Import TensorFlow without its start-up lines; a failure to import it is left to the caller.

    TensorFlow 2.21 writes some of them from C++ before TF_CPP_MIN_LOG_LEVEL counts, so standard
    error is turned away while it loads. A level that the user set in the environment stays.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in ("tensorflow", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if "tensorflow" in sys.modules:
        return
    with _stderr_turned_away(), contextlib.suppress(ImportError):
        import_module("tensorflow")


def import_keras() -> Any:
    """Import Keras on TensorFlow without its start-up noise and give the module back.

    Raises ``RuntimeUnavailable`` where it is not installed or runs on another backend.
    """
    quiet_tensorflow()
    try:
        import_module("tensorflow")
        keras = import_module("keras")
    except ImportError as error:
        raise RuntimeUnavailable(
            f"Keras on TensorFlow does not load ({error}): pip install 'tensorflow>=2.21'"
        ) from error
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise RuntimeUnavailable(
            f"Keras runs on its {backend} backend here; set KERAS_BACKEND=tensorflow"
        )
    return keras


@contextlib.contextmanager
def _stderr_turned_away() -> Iterator[None]:
    """Send what native code writes to file descriptor 2 nowhere."""
    try:
        kept = os.dup(2)
    except OSError:  # no standard error: nothing to silence
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        sys.stderr.flush()
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def is_keras_file(path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` is a .keras or HDF5 file, by content, else by its ending."""
    path = Path(path)
    if not path.is_file():
        return path.suffix.lower() in {".keras", ".h5", ".hdf5"}
    with path.open("rb") as file:
        head = file.read(8)
    return head == _HDF5_MAGIC or head[:4] == b"PK\x03\x04" or path.suffix == ".keras"


def load_keras_model(
    path: str | os.PathLike[str], *, custom_objects: Mapping[str, Any] | None = None
) -> Any:
    """Load a .keras or HDF5 model without its optimizer and without running code from it.

    Raises ``ModelError`` that says what is wrong with the file: missing, not a Keras model,
    weights only, a custom layer that is not known, a Lambda layer.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    if head != _HDF5_MAGIC and not zipfile.is_zipfile(path):
        raise ModelError(f"{path} is not a Keras model that can be read, or it is truncated")
    keras = import_keras()
    try:
        if head == _HDF5_MAGIC:
            # By this function rather than load_model, which goes by the ending of the name.
            from keras.src.legacy.saving import legacy_h5_format

            return legacy_h5_format.load_model_from_hdf5(
                str(path), custom_objects=dict(custom_objects or {}), compile=False, safe_mode=True
            )
        return keras.models.load_model(
            path, custom_objects=custom_objects, compile=False, safe_mode=True
        )
    except KilnxError:
        raise
    except Exception as error:
        raise ModelError(f"{path}: {_why_not_loaded(error)}") from error


class KerasRuntime:
    """A Keras model called with ``training=False``.

    ``model``: a live model or a path. ``signature`` is needed for a subclassed model only, whose
    inputs Keras does not record. Outputs are known by name; their dtypes and shapes where the
    model declares them.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    quantized = False

    def __init__(
        self,
        model: Any,
        *,
        signature: KerasSignature | None = None,
        custom_objects: Mapping[str, Any] | None = None,
    ) -> None:
        keras = import_keras()
        self.name = "Keras"
        if isinstance(model, str | os.PathLike):
            self.name = os.fspath(model)
            model = load_keras_model(model, custom_objects=custom_objects)
        if not isinstance(model, keras.Model):
            raise ModelError(f"a {type(model).__name__} is not a Keras model")
        if self.name == "Keras":
            self.name = str(model.name)
        try:
            self._signature = signature or keras_signature(model)
        except ConversionError as error:
            raise ModelError(str(error)) from error
        self._keras = keras
        self._model: Any = model
        self.inputs = self._signature.inputs
        self.outputs = self._output_specs()

    def run(self, feed: Feed, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Run one batch; ``DataError`` for a feed that does not fit."""
        check_feed(feed, self.inputs, self.name)
        wanted = [spec.name for spec in self.outputs] if outputs is None else list(outputs)
        check_outputs(wanted, self.outputs, self.name)
        result = self._call(feed)
        return {name: result[name] for name in wanted}

    def prepare(self, feed: Feed) -> Callable[[], object]:
        """Check ``feed`` once and give a function that runs it, for timing."""
        check_feed(feed, self.inputs, self.name)
        return lambda: self._call(feed)

    def close(self) -> None:
        """Let go of the model."""
        self._model = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _call(self, feed: Feed) -> dict[str, Array]:
        if self._model is None:
            raise RuntimeError("the runtime is closed")
        tensors = [self._keras.ops.convert_to_tensor(feed[spec.name]) for spec in self.inputs]
        result = self._model(self._signature.pack(tensors), training=False)
        names = self._signature.output_names(result)
        arrays = [np.asarray(value) for value in self._keras.tree.flatten(result)]
        return dict(zip(names, arrays, strict=True))

    def _output_specs(self) -> tuple[TensorSpec, ...]:
        """What the outputs are, without computing them."""
        symbolic = [
            self._keras.KerasTensor(
                [dim if isinstance(dim, int) else None for dim in spec.shape or ()],
                "string" if spec.dtype.kind == "O" else spec.dtype.name,
            )
            for spec in self.inputs
        ]
        try:
            result = self._model.compute_output_spec(self._signature.pack(symbolic), training=False)
        except Exception as error:
            raise ModelError(
                f"{self.name} cannot be traced on {self._signature}: {_first_line(error)}"
            ) from error
        names = self._signature.output_names(result)
        return tuple(
            TensorSpec(
                name,
                _dtype(value.dtype),
                tuple("batch" if d is None and i == 0 else d for i, d in enumerate(value.shape)),
            )
            for name, value in zip(names, self._keras.tree.flatten(result), strict=True)
        )


def _dtype(name: str) -> np.dtype[Any]:
    import ml_dtypes

    if name == "string":
        return np.dtype(object)
    return np.dtype(getattr(ml_dtypes, name, None) or name)


def _why_not_loaded(error: Exception) -> str:
    text = str(error)
    if "No model config found" in text or "No model found in config" in text:
        return (
            "holds weights only, without the model around them; load them into the model in "
            "Python and save it with model.save"
        )
    if "Lambda" in text and ("safe_mode" in text or "unsafe" in text):
        return (
            "holds a Lambda layer, whose code is not run from an untrusted file; load it in "
            "Python with keras.models.load_model(..., safe_mode=False) and pass the live model"
        )
    unknown = re.search(r"(?:Could not locate class|Unknown layer:?) '([^']+)'", text)
    if unknown:
        return (
            f"uses {unknown[1]!r}, which Keras does not know; load the model in Python with "
            "custom_objects and pass the live model, or register the class with "
            "keras.saving.register_keras_serializable"
        )
    return f"is not a Keras model that can be read ({_first_line(error)})"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
