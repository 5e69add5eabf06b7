"""What a Keras model was trained to make small, which says what its outputs are judged by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtimes.keras_models.loss_meaning import Loss, loss_named

_NOTED = "_kilnx_compiled_with"


def note_loss(model: Any, training: Any) -> None:
    """Keep the loss of a file's ``training`` configuration; its model is loaded uncompiled."""
    loss = training.get("loss") if isinstance(training, Mapping) else None
    if loss is not None:
        setattr(model, _NOTED, loss)


def losses_of(model: Any) -> dict[str, Loss]:
    """The loss of each output by name, ``""`` where it is that of all; only those known.

    A function or class of the user's says nothing, and a model that was never compiled has none.
    """
    given = getattr(model, "loss", None) or getattr(model, _NOTED, None)
    if isinstance(given, Mapping) and "class_name" not in given:
        found = {str(name): _loss(one) for name, one in given.items()}
    elif isinstance(given, list | tuple):
        names = list(getattr(model, "output_names", []) or [])
        if len(names) != len(given):
            names = [""] if len(given) == 1 else []
        found = dict(zip(names, map(_loss, given), strict=False))
    else:
        found = {"": _loss(given)}
    return {name: loss for name, loss in found.items() if loss is not None}


def _loss(given: Any) -> Loss | None:
    """Of a name, a function, an object, or what a file says of one of these."""
    if isinstance(given, str):
        return loss_named(given)
    if isinstance(given, Mapping):
        config = given.get("config")
        if isinstance(config, str):  # a function
            return loss_named(config)
        logits = config.get("from_logits") if isinstance(config, Mapping) else None
        return loss_named(str(given.get("class_name", "")), logits)
    if given is None:
        return None
    is_object = not hasattr(given, "__name__")
    kind = type(given) if is_object else given
    if (getattr(kind, "__module__", None) or "").split(".")[0] not in {"keras", "tf_keras"}:
        return None
    return loss_named(kind.__name__, _from_logits(given) if is_object else None)


def _from_logits(loss: Any) -> bool | None:
    try:
        found = loss.get_config().get("from_logits")
    except Exception:  # a loss of the user's need have none
        return None
    return found if isinstance(found, bool) else None
