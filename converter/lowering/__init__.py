"""Handlers for operators that tf2onnx lacks or lowers badly, one file an operator family.

They are given to tf2onnx through its custom-handler interface and build nodes on its graph
(the ``ctx`` argument), so they import neither tf2onnx nor TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Handler = tuple[Callable[..., None], list[Any]]


def custom_handlers() -> dict[str, Handler]:
    """Handlers by TensorFlow operator name, as tf2onnx takes them."""
    return {}
