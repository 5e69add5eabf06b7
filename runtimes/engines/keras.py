"""Keras as the reference runtime. TensorFlow is imported inside functions only."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runtimes.base import Array, Feed, TensorSpec
from runtimes.engines.placement import Placement
from runtimes.engines.runtime import Loaded, Runtime
from runtimes.errors import ConversionError, ModelError, first_line
from runtimes.keras_models.load import import_keras, load_keras_model
from runtimes.keras_models.saved_model import is_saved_model
from runtimes.keras_models.scope_names import valid_scopes
from runtimes.keras_models.signature import KerasSignature, LiveModel, keras_signature
from runtimes.keras_models.state import kept, written_variables

_FILE_HEADS = (b"\x89HDF\r\n\x1a\n", b"PK\x03\x04")
_FILE_ENDINGS = {".keras", ".h5", ".hdf5", ".json"}


def is_keras_file(path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` is a .keras, HDF5 or JSON file, a Keras folder or a SavedModel.

    Decided by the content, or by the file extension if the file is damaged.
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


class KerasRuntime(Runtime):
    """A Keras model called with ``training=False`` in a ``tf.function``, as in ``predict``.

    Every run starts from the model's original state and restores it afterwards: two runs on the
    same batch give the same outputs.

    Args:
        model: A live model or a path.
        signature: Needed only for a subclassed model, whose inputs Keras does not record.
        custom_objects: Classes and functions of the model by name, for a path.

    Raises:
        ModelError: It is not a Keras model, or does not record its inputs. For a path, also
            whatever ``load_keras_model`` raises.
    """

    engine = "Keras"

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
        try:
            live = LiveModel(loaded, signature or keras_signature(loaded))
        except ConversionError as error:
            raise ModelError(str(error)) from error
        super().__init__(live, name=os.fspath(model) if is_path else str(loaded.name))

    def _load(self, source: LiveModel) -> Loaded:
        outputs = self._output_specs(source)
        self._function: Any = self._trace(source)
        self._written: list[Any] | None = None
        layers = list(source.model._flatten_layers(include_self=False))
        return Loaded(
            source.signature.inputs,
            outputs,
            Placement("keras", {"TensorFlow": len(layers)}, ()),
            any(getattr(layer, "quantization_mode", None) for layer in layers),
            version=str(self._keras.__version__),
        )

    def _run(self, feed: Feed, names: Sequence[str]) -> Sequence[Array]:
        found = self._run_traced([feed[spec.name] for spec in self.inputs])
        arrays = dict(zip(self._output_names, found, strict=True))
        return [_array(arrays[name]) for name in names]

    def _prepare(self, feed: Feed) -> Callable[[], object]:
        values = [self._keras.ops.convert_to_tensor(feed[spec.name]) for spec in self.inputs]
        return lambda: [_array(tensor) for tensor in self._run_traced(values)]

    def _unload(self) -> None:
        self._function = self._written = None

    def _is_models_fault(self, error: Exception) -> bool:
        import tensorflow as tf

        return isinstance(error, tf.errors.OpError)

    def _explain(self, error: Exception) -> str:
        return first_line(error)

    def _run_traced(self, values: Sequence[Any]) -> Any:
        if self._written is None:
            with valid_scopes():
                self._written = written_variables(self._function.get_concrete_function())
        with kept(self._written):
            return self._function(*values)

    def _trace(self, source: LiveModel) -> Any:
        """The model as a graph function from flat inputs to flat outputs.

        One trace serves all batch sizes: the signature keeps dynamic dimensions dynamic.
        """
        import tensorflow as tf

        flatten = self._keras.tree.flatten
        signature = [
            tf.TensorSpec(
                None if spec.shape is None else _dynamic(spec.shape),
                tf.string if spec.dtype.kind == "O" else tf.as_dtype(spec.dtype),
            )
            for spec in source.signature.inputs
        ]
        return tf.function(
            lambda *tensors: flatten(source.signature.call(source.model, tensors)),
            input_signature=signature,
        )

    def _output_specs(self, source: LiveModel) -> tuple[TensorSpec, ...]:
        """The specifications of the outputs, without computing them."""
        signature = source.signature
        symbolic = [
            self._keras.KerasTensor(
                _dynamic(spec.shape or ()),
                "string" if spec.dtype.kind == "O" else spec.dtype.name,
            )
            for spec in signature.inputs
        ]
        try:
            result = signature.call(source.model, symbolic)
        except Exception as error:
            raise ModelError() from error
        tensors = self._keras.tree.flatten(result)
        return tuple(map(_output_spec, signature.output_names(result), tensors))


def _output_spec(name: str, tensor: Any) -> TensorSpec:
    shape = tuple(tensor.shape)
    if shape and shape[0] is None:
        shape = ("batch", *shape[1:])
    return TensorSpec(name, _output_dtype(tensor.dtype), shape)


def _dynamic(shape: Sequence[int | str | None]) -> list[int | None]:
    return [dim if isinstance(dim, int) else None for dim in shape]


def _array(tensor: Any) -> Array:
    """The values as a numpy type: bfloat16 becomes float32, as in exported files."""
    values = np.asarray(tensor)
    return values.astype(np.float32) if values.dtype.name == "bfloat16" else values


def _output_dtype(name: str) -> np.dtype[Any]:
    if name == "string":
        return np.dtype(object)
    return np.dtype("float32" if name == "bfloat16" else name)
