"""Keras' outputs, eagerly or in a graph; the model is restored afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from converter.export.bfloat16 import float32_call, uses_bfloat16
from runtimes.base import Array, TensorSpec
from runtimes.keras_models.scope_names import valid_scopes
from runtimes.keras_models.signature import KerasSignature
from runtimes.keras_models.state import kept, kept_state, written_variables


def run_keras(
    model: Any, signature: KerasSignature, feed: Mapping[str, Array]
) -> tuple[Array, ...]:
    """The model's outputs for ``feed``, flat and in order; fast, because nothing is traced."""
    with kept_state(model):
        return call_eagerly(model, signature, feed)


def call_eagerly(
    model: Any, signature: KerasSignature, feed: Mapping[str, Array]
) -> tuple[Array, ...]:
    """The outputs of one call, which changes the model's state.

    bfloat16 layers compute in float32, as in the file: intermediate rounding to bfloat16 depends on
    the CPU, so no file could be compared with it.
    """
    import keras

    with _as_exported(model):
        tensors = [keras.ops.convert_to_tensor(feed[spec.name]) for spec in signature.inputs]
        outputs = signature.call(model, tensors)
    return tuple(np.asarray(tensor) for tensor in keras.tree.flatten(outputs))


def run_in_graph(
    model: Any, signature: KerasSignature, feed: Mapping[str, Array]
) -> tuple[Array, ...]:
    """The outputs as in ``model.predict``: from a graph, in which some layers behave differently.

    ``Resizing`` returns uint8 images as uint8 when it is called eagerly, but as float32 in a graph.
    As in ``predict`` on its first batch, all sizes but the batch are static in the graph.
    """
    import keras
    import tensorflow as tf

    specs = [
        tf.TensorSpec(_but_the_batch(spec, feed[spec.name]), spec.dtype)
        for spec in signature.inputs
    ]

    def call(*tensors: Any) -> list[Any]:
        flat: list[Any] = keras.tree.flatten(signature.call(model, tensors))
        return flat

    with _as_exported(model), valid_scopes():
        function = tf.function(call, input_signature=specs).get_concrete_function()
    tensors = [keras.ops.convert_to_tensor(feed[spec.name]) for spec in signature.inputs]
    with kept(written_variables(function)):
        return tuple(np.asarray(tensor) for tensor in function(*tensors))


def _as_exported(model: Any) -> AbstractContextManager[None]:
    return float32_call(model) if uses_bfloat16(model) else nullcontext()


def _but_the_batch(spec: TensorSpec, values: Array) -> list[int | None]:
    fixed = spec.shape is not None and spec.shape[:1] and isinstance(spec.shape[0], int)
    return [*([None] if not fixed else values.shape[:1]), *values.shape[1:]][: values.ndim]
