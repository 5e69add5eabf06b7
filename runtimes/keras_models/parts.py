"""The layers and variables of a Keras model."""

from __future__ import annotations

from typing import Any


def all_layers(model: Any) -> list[Any]:
    """The model itself and every layer inside it, at any depth; empty for a SavedModel."""
    flatten = getattr(model, "_flatten_layers", None)  # a SavedModel has no layers
    return [] if flatten is None else list(flatten())


def keras_variables(model: Any) -> list[Any]:
    """The variables that belong to Keras; Keras 3.8 lists some of TensorFlow's own besides them."""
    import keras

    return [variable for variable in model.variables if isinstance(variable, keras.Variable)]
