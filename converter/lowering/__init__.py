"""Lowerings of what tf2onnx lacks or lowers badly, one file an operator or layer family.

Operators have handlers, given to tf2onnx through its custom-handler interface; they build
nodes on its graph (the ``ctx`` argument), so they import neither tf2onnx nor TensorFlow. Whole
layers are marked while tracing, see ``converter.lowering.markers``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from converter.lowering.layers.table import lower_marker
from converter.lowering.operators.base import Inherited
from converter.lowering.operators.table import operator_handlers

Handler = tuple[Callable[..., None], list[Any]]


def custom_handlers(
    tables: Mapping[str, tuple[Any, Any]], inherited: Inherited = MappingProxyType({})
) -> dict[str, Handler]:
    """Handlers by TensorFlow operator name, as tf2onnx takes them.

    ``tables`` are the lookup tables of the graph by shared name, as keys and values;
    ``inherited`` are the handlers that tf2onnx itself has for the opset that is written.
    """
    return {**operator_handlers(tables, inherited), "PyFunc": (lower_marker, [])}
