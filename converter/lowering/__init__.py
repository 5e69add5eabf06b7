"""Lowerings of what tf2onnx lacks or lowers badly, one file an operator or layer family.

Operators have handlers, given to tf2onnx through its custom-handler interface; they build
nodes on its graph (the ``ctx`` argument), so they import neither tf2onnx nor TensorFlow. Whole
layers are marked while tracing, see ``converter.lowering.markers``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from converter.lowering.layers import lower_marker
from converter.lowering.operators import operator_handlers

Handler = tuple[Callable[..., None], list[Any]]


def custom_handlers() -> dict[str, Handler]:
    """Handlers by TensorFlow operator name, as tf2onnx takes them."""
    return {**operator_handlers(), "PyFunc": (lower_marker, [])}
