"""What a Keras model does to its inputs by itself, which images must not have had before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_SCALERS = {"Rescaling", "Normalization"}
# Arithmetic on the input itself, as x / 255 in a functional model.
_ARITHMETIC = {"TrueDivide", "Divide", "Multiply", "Subtract", "Add"}


def own_scaling(model: Any) -> tuple[str, ...]:
    """The layers of ``model`` that bring its inputs to another scale, in words."""
    found = [_described(layer) for layer in _layers(model) if type(layer).__name__ in _SCALERS]
    starts = {id(tensor) for tensor in getattr(model, "inputs", None) or ()}
    for operation in getattr(model, "operations", ()):
        if type(operation).__name__ in _ARITHMETIC:
            arguments = [id(one) for node in operation._inbound_nodes for one in node.input_tensors]
            if starts & set(arguments):
                found.append(operation.name)
    return tuple(found)


def _layers(model: Any) -> Iterator[Any]:
    flatten = getattr(model, "_flatten_layers", None)
    yield from flatten() if flatten is not None else ()


def _described(layer: Any) -> str:
    scale = getattr(layer, "scale", None)
    if isinstance(scale, int | float):
        return f"{layer.name}, × {scale:g}"
    return str(layer.name)
