"""The accidental fixed batch size of a Sequential model that was built on data.

A Sequential model without an Input takes its input shape from the first samples that it sees,
including the batch size of ``fit``. Keras does not record where a shape came from, so it has to be
inferred.
"""

from __future__ import annotations

import re
from typing import Any

_TRAINED = "_kilnx_was_trained"
_NAME_BY_KERAS = re.compile(r"input_layer(_\d+)?")


def mark_trained(model: Any) -> None:
    """Mark ``model`` as saved with its compile settings, for ``chosen_by_data``."""
    setattr(model, _TRAINED, True)


def chosen_by_data(model: Any) -> bool:
    """Whether the fixed batch size of a Sequential model comes from its data.

    The Input of a live model tells how it was created; in a file that is lost. There, the batch
    size counts as that of ``fit`` if the model was compiled and its Input has no name of its own.
    If a layer is stateful, the batch size is always kept.
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
    """Whether ``Sequential.build`` created the Input: it sets only the shape and the dtype."""
    arguments = getattr(getattr(layer, "_auto_config", None), "config", {})
    return arguments.get("dtype") is not None and arguments.get("sparse", False) is None
