"""Any layer name as a name that TensorFlow's graphs accept, and back.

Keras allows nearly every name and TensorFlow's graphs do not: not ``größe``, not ``dense 1``, and
nothing that begins with ``_`` at the top. A model with such a layer works when it is called.
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

# Replacing what is in Keras' class concerns the whole process: one trace at a time.
_LOCK = threading.RLock()


def to_scope(name: str) -> str:
    """``name`` as a scope: most are as they are, the others escaped behind a leading dot."""
    if _VALID.fullmatch(name):
        return name
    return "." + _NOT_ALLOWED.sub(lambda found: f".x{ord(found[0]):x}.", name)


def from_scope(path: str) -> str:
    """The layers' names in a path of scopes that ``to_scope`` wrote."""
    return "/".join(
        _ESCAPED.sub(lambda found: chr(int(found[1], 16)), part[1:]) if part[:1] == "." else part
        for part in path.split("/")
    )


@contextmanager
def valid_scopes() -> Iterator[None]:
    """Let Keras open scopes that TensorFlow accepts, whatever its layers are called."""
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
