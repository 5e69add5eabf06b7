"""Normalizations that are folded into the layer before them, which then is what they are called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runtimes.keras_models.scope_names import to_scope

_NORMALIZATION = "BatchNormalization"


def merged_layers(model: Any) -> dict[str, str]:
    """The path of the layer before every BatchNormalization, by the normalization's path.

    Only of models that know how their layers are connected.
    """
    return dict(_of(model, ""))


def _of(model: Any, prefix: str) -> Iterator[tuple[str, str]]:
    for layer in getattr(model, "layers", None) or ():
        path = f"{prefix}{to_scope(layer.name)}"
        if type(layer).__name__ == _NORMALIZATION:
            before = _before(layer)
            if before is not None:
                yield path, f"{prefix}{to_scope(before.name)}"
        elif hasattr(layer, "layers"):
            yield from _of(layer, f"{path}/")


def _before(layer: Any) -> Any | None:
    """The layer whose output it normalizes, where that is one; Keras calls a layer many times."""
    found = {
        id(parent.operation): parent.operation
        for node in getattr(layer, "_inbound_nodes", ())
        for parent in getattr(node, "parent_nodes", ())
    }
    return next(iter(found.values())) if len(found) == 1 else None
