"""Python control flow on tensors, in the code of layers, as control flow of the graph.

``for step in range(length)`` and ``if length % 2:`` need numbers, and in a graph the length of a
sequence is a tensor. TensorFlow's AutoGraph rewrites such code. Keras does not let it into its own
functions, so it never gets from a model to the layers in it: here it starts at each layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from converter.export.tracing.growing_lists import growing_lists


@contextmanager
def graph_control_flow() -> Iterator[None]:
    """While active, the ``call`` of every layer that is not Keras' own is rewritten."""
    import keras
    import tensorflow as tf

    original = keras.layers.Layer.__call__

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_foreign(layer):
            return original(layer, *args, **kwargs)
        context = tf.__internal__.autograph.control_status_ctx()
        layer.__dict__["call"] = tf.__internal__.autograph.tf_convert(layer.call, context)
        try:
            return original(layer, *args, **kwargs)
        finally:
            del layer.__dict__["call"]

    keras.layers.Layer.__call__ = call
    try:
        with growing_lists():
            yield
    finally:
        keras.layers.Layer.__call__ = original


def _is_foreign(layer: Any) -> bool:
    """Whether the code of a layer is neither Keras' own nor a marker of kilnx."""
    code = getattr(layer.call, "__func__", layer.call)
    module = str(getattr(code, "__module__", "")).split(".")[0]
    return "call" not in layer.__dict__ and module not in ("keras", "converter")
