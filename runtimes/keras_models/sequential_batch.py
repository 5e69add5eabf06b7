"""The batch size of a Sequential model that was built on data, which nobody asked for.

A Sequential model without an Input takes its input shape from the first samples that it sees, the
batch size of ``fit`` included. Keras keeps no note of who chose a shape, so the signs are read.
"""

from __future__ import annotations

import re
from typing import Any

_TRAINED = "_kilnx_was_trained"
_NAME_BY_KERAS = re.compile(r"input_layer(_\d+)?")


def mark_trained(model: Any) -> None:
    """Note that the file of ``model`` holds what it was compiled with, for ``chosen_by_data``."""
    setattr(model, _TRAINED, True)


def chosen_by_data(model: Any) -> bool:
    """Whether the fixed batch size of a Sequential model comes from its data.

    A live model's Input says how it was made. In a file it does not: there the batch of a model
    that was compiled, and whose Input has no name of its own, counts as fit's. A stateful layer
    needs its batch size.
    """
    import keras

    layers = model._layers
    if not layers or not isinstance(layers[0], keras.layers.InputLayer):
        return False
    if not isinstance(layers[0].batch_shape[0], int):
        return False
    if not _NAME_BY_KERAS.fullmatch(layers[0].name):
        return False
    if any(getattr(layer, "stateful", False) for layer in model._flatten_layers()):
        return False
    return getattr(model, _TRAINED, False) or _made_by_build(layers[0])


def _made_by_build(layer: Any) -> bool:
    """Whether ``Sequential.build`` made the Input: it states a dtype and nothing else."""
    arguments = getattr(getattr(layer, "_auto_config", None), "config", {})
    return arguments.get("dtype") is not None and arguments.get("sparse", False) is None
