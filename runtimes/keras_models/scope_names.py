"""Convert any layer name to one that TensorFlow's graphs accept, and back.

Keras allows nearly any name. TensorFlow's graphs do not: they reject ``größe``, ``dense 1`` and, at
the top level, names that begin with ``_``. A model with such a layer works only in eager mode.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_VALID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.>-]*")
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_-]")
_ESCAPED = re.compile(r"\.x([0-9a-f]+)\.")

# Patching Keras' class affects the whole process, so only one trace may run at a time.
_LOCK = threading.RLock()


def to_scope(name: str) -> str:
    """``name`` as a scope name; most are unchanged, others are escaped after a leading dot."""
    if _VALID.fullmatch(name):
        return name
    return "." + _NOT_ALLOWED.sub(lambda found: f".x{ord(found[0]):x}.", name)


def from_scope(path: str) -> str:
    """The layers' names in a scope path written by ``to_scope``."""
    return "/".join(
        _ESCAPED.sub(lambda found: chr(int(found[1], 16)), part[1:]) if part[:1] == "." else part
        for part in path.split("/")
    )


@contextmanager
def valid_scopes() -> Iterator[None]:
    """Make Keras open scopes that TensorFlow accepts, whatever its layers are called."""
    import tensorflow as tf
    from keras.src.backend.tensorflow.core import name_scope

    original = name_scope.__init__

    def opened(scope: Any, name: str, **arguments: Any) -> None:
        super(name_scope, scope).__init__(name, **arguments)
        scope._tf_name_scope = tf.name_scope(to_scope(name))

    with _LOCK:
        name_scope.__init__ = opened
        try:
            yield
        finally:
            name_scope.__init__ = original
