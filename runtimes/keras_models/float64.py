"""A Keras model in double precision: the same layers and weights with float64 dtypes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtimes.errors import ModelError

_NARROW = {"float32", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16"}


def double_model(model: Any) -> Any:
    """A copy of a functional or sequential Keras model that computes in float64.

    Raises ``ModelError`` for a model that cannot be rebuilt from its configuration: a subclassed
    model, or one with code that is not in the configuration.
    """
    import keras

    if not isinstance(model, keras.Sequential) and type(model).__name__ != "Functional":
        raise ModelError(f"{model.name} is subclassed: it cannot be rebuilt from its configuration")
    own = {type(layer).__name__: type(layer) for layer in model._flatten_layers()}
    try:
        copy = type(model).from_config(_widened(model.get_config()), custom_objects=own)
        for wide, narrow in zip(copy.weights, model.weights, strict=True):
            wide.assign(narrow)  # one at a time, to avoid a second copy of all weights
        for wide, narrow in zip(_remembered(copy), _remembered(model), strict=True):
            wide.assign(narrow)
    except Exception as error:  # custom layers may raise anything
        raise ModelError(f"{model.name} cannot be rebuilt in float64: {error}") from error
    return copy


def _remembered(model: Any) -> list[Any]:
    """States of recurrent layers and seed generators, which Keras does not list as weights."""
    import keras

    found: list[Any] = []
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.RNN):
            found += keras.tree.flatten(layer.states or [])
        found += [generator.state for generator in getattr(layer, "_seed_generators", [])]
    return found


def _widened(config: Any, key: str = "") -> Any:
    """A configuration with every float dtype replaced, in layers and in dtype policies."""
    if isinstance(config, Mapping):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {"name": _dtype(config["config"]["name"])}}
        return {name: _widened(value, str(name)) for name, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_widened(value, key) for value in config)
    return _dtype(config) if key.endswith("dtype") else config


def _dtype(name: Any) -> Any:
    return "float64" if name in _NARROW else name
