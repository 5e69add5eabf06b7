"""Which backend Keras runs on in this process, without importing it."""

from __future__ import annotations

import os
import sys

TENSORFLOW = "tensorflow"


def other_backend() -> str | None:
    """The name of Keras' backend here, if it is another than TensorFlow.

    Keras chooses it once, when it is imported; before that the environment says what it will be.
    """
    keras = sys.modules.get("keras")
    asked = os.environ.get("KERAS_BACKEND", TENSORFLOW)
    name: str = asked if keras is None else keras.backend.backend()
    return None if name == TENSORFLOW else name
