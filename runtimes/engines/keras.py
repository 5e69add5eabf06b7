"""Keras as the reference runtime. TensorFlow is imported inside functions only."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from runtimes.base import Array, Feed, TensorSpec
from runtimes.engines.batching import check_feed, check_outputs
from runtimes.errors import ConversionError, ModelError, first_line
from runtimes.keras_models.load import import_keras, load_keras_model
from runtimes.keras_models.saved_model import is_saved_model
from runtimes.keras_models.scope_names import valid_scopes
from runtimes.keras_models.signature import KerasSignature, keras_signature
from runtimes.keras_models.state import kept, written_variables

_FILE_HEADS = (b"\x89HDF\r\n\x1a\n", b"PK\x03\x04")
_FILE_ENDINGS = {".keras", ".h5", ".hdf5", ".json"}


def is_keras_file(path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` is a .keras, HDF5 or JSON file, or a folder of Keras or a SavedModel.

    By content, or by the ending of the file where it is damaged.
    """
    path = Path(path)
    if is_saved_model(path) or (path / "model.weights.h5").is_file():
        return True
    if path.suffix.lower() in _FILE_ENDINGS:
        return True
    try:
        with path.open("rb") as file:
            return file.read(8).startswith(_FILE_HEADS)
    except OSError:
        return False


class KerasRuntime:
    """A Keras model called with ``training=False`` in a ``tf.function``, as ``predict`` does it.

    Every run starts from the model's state as it was given, and leaves it so: two runs on the
    same batch give the same.
    ``model``: a live model or a path. ``signature`` is needed for a subclassed model only, whose
    inputs Keras does not record. Raises ``ModelError`` for what is not a Keras model or does not
    know its inputs, and what ``load_keras_model`` raises for a file.
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
        self._keras = import_keras()
        is_path = isinstance(model, str | os.PathLike)
        loaded = load_keras_model(model, custom_objects=custom_objects)
        self.name = os.fspath(model) if is_path else str(loaded.name)
        try:
            self._signature = signature or keras_signature(loaded)
        except ConversionError as error:
            raise ModelError(str(error)) from error
        self.inputs = self._signature.inputs
        self._model: Any = loaded
        self.outputs = self._output_specs()
        self._function: Any = self._trace()
        self._written: list[Any] | None = None

    @property
    def model(self) -> Any:
        """The live Keras model, None after ``close``."""
        return self._model

    @property
    def signature(self) -> KerasSignature:
        """How the model is called."""
        return self._signature

    def run(self, feed: Feed, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Run one batch: ``DataError`` if the feed does not fit, ``ModelError`` if it fails."""
        check_feed(feed, self.inputs, self.name)
        wanted = [spec.name for spec in self.outputs] if outputs is None else list(outputs)
        check_outputs(wanted, self.outputs, self.name)
        result = self._call([feed[spec.name] for spec in self.inputs])
        names = [spec.name for spec in self.outputs]
        arrays = dict(zip(names, (np.asarray(tensor) for tensor in result), strict=True))
        return {name: arrays[name] for name in wanted}

    def prepare(self, feed: Feed) -> Callable[[], object]:
        """Check ``feed`` once and give a function that runs it, for timing."""
        self.run(feed)
        values = [self._keras.ops.convert_to_tensor(feed[spec.name]) for spec in self.inputs]
        return lambda: [np.asarray(tensor) for tensor in self._run_traced(values)]

    def close(self) -> None:
        """Let go of the model."""
        self._model = self._function = self._written = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _call(self, values: Sequence[Array]) -> Any:
        if self._function is None:
            raise RuntimeError("the runtime is closed")
        import tensorflow as tf

        try:
            return self._run_traced(values)
        except tf.errors.OpError as error:
            raise ModelError(f"{self.name} failed when it ran: {first_line(error)}") from error

    def _run_traced(self, values: Sequence[Any]) -> Any:
        if self._written is None:
            with valid_scopes():
                self._written = written_variables(self._function.get_concrete_function())
        with kept(self._written):
            return self._function(*values)

    def _trace(self) -> Any:
        """The model as a graph function of flat inputs that gives flat outputs.

        One trace for all batch sizes: the signature keeps the dynamic dimensions dynamic.
        """
        import tensorflow as tf

        model, signed, flatten = self._model, self._signature, self._keras.tree.flatten
        signature = [
            tf.TensorSpec(
                None if spec.shape is None else _dynamic(spec.shape),
                tf.string if spec.dtype.kind == "O" else tf.as_dtype(spec.dtype),
            )
            for spec in self.inputs
        ]
        return tf.function(
            lambda *tensors: flatten(signed.call(model, tensors)),
            input_signature=signature,
        )

    def _output_specs(self) -> tuple[TensorSpec, ...]:
        """What the outputs are, without computing them."""
        symbolic = [
            self._keras.KerasTensor(
                _dynamic(spec.shape or ()),
                "string" if spec.dtype.kind == "O" else spec.dtype.name,
            )
            for spec in self.inputs
        ]
        try:
            result = self._signature.call(self._model, symbolic)
        except Exception as error:
            raise ModelError(
                f"{self.name} cannot be called on {self._signature}: {first_line(error)}"
            ) from error
        names = self._signature.output_names(result)
        return tuple(
            TensorSpec(name, _dtype(tensor.dtype), ("batch", *tensor.shape[1:]))
            if tensor.shape and tensor.shape[0] is None
            else TensorSpec(name, _dtype(tensor.dtype), tuple(tensor.shape))
            for name, tensor in zip(names, self._keras.tree.flatten(result), strict=True)
        )


def _dynamic(shape: Sequence[int | str | None]) -> list[int | None]:
    return [dim if isinstance(dim, int) else None for dim in shape]


def _dtype(name: str) -> np.dtype[Any]:
    import ml_dtypes

    if name == "string":
        return np.dtype(object)
    return np.dtype(getattr(ml_dtypes, name, None) or name)
