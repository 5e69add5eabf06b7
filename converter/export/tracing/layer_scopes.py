"""Record in each operator's name which Keras layer it came from, while tracing.

Keras names TensorFlow scopes after layers, but TensorFlow makes each scope unique with a
number, and then ``conv2d_1`` may be the second layer or the second call of the first. While
``layer_scopes`` is active, every layer call runs in a scope whose name is exactly its path.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Set
from contextlib import contextmanager
from typing import Any

from runtimes.keras_models.scope_names import to_scope, valid_scopes

# Patching Layer.__call__ affects the whole process, so only one trace may run at a time.
_LOCK = threading.RLock()


@contextmanager
def layer_scopes() -> Iterator[set[str]]:
    """Yield the set that collects the path of every layer called inside, such as ``inner/conv``.

    The path leaves out the outermost layer, which is the model itself, and is escaped by
    ``to_scope``.
    """
    import keras
    import tensorflow as tf

    paths: set[str] = set()
    stack: list[str] = []
    original = keras.layers.Layer.__call__

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        stack.append(to_scope(layer.name))
        path = "/".join(stack[1:])
        try:
            if not path:
                return original(layer, *args, **kwargs)
            paths.add(path)
            with tf.name_scope(f"{path}/"):
                return original(layer, *args, **kwargs)
        finally:
            stack.pop()

    with _LOCK, valid_scopes():
        keras.layers.Layer.__call__ = call
        try:
            yield paths
        finally:
            keras.layers.Layer.__call__ = original


def layer_of(name: str, paths: Set[str]) -> str | None:
    """The longest of ``paths`` with which the operator's scoped ``name`` begins."""
    parts = name.split(":", maxsplit=1)[0].split("/")
    for end in range(len(parts), 0, -1):
        path = "/".join(parts[:end])
        if path in paths:
            return path
    return None
