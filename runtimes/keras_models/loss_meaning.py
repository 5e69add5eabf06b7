"""What a training loss says of an output: classes, yes or no, or quantities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Meaning = Literal["classes", "binary", "values", "other"]

_MEANINGS: dict[str, Meaning] = {
    **dict.fromkeys(
        (
            *("categoricalcrossentropy", "sparsecategoricalcrossentropy", "categoricalhinge"),
            *("categoricalfocalcrossentropy", "categoricalgeneralizedcrossentropy"),
            *("kldivergence", "kullbackleiblerdivergence", "kld"),
        ),
        "classes",
    ),
    **dict.fromkeys(
        ("binarycrossentropy", "bce", "binaryfocalcrossentropy", "hinge", "squaredhinge"), "binary"
    ),
    **dict.fromkeys(
        (
            *("meansquarederror", "mse", "meanabsoluteerror", "mae", "huber", "logcosh"),
            *("meanabsolutepercentageerror", "mape", "meansquaredlogarithmicerror", "msle"),
            "poisson",
        ),
        "values",
    ),
    **dict.fromkeys(("cosinesimilarity", "ctc", "circle"), "other"),
}


@dataclass(frozen=True)
class Loss:
    """A loss that is known, by its name in Keras; ``from_logits`` where that was stated.

    ``meaning``: what the output is for; ``other`` is what no metric of kilnx measures.
    """

    name: str
    meaning: Meaning
    from_logits: bool | None = None


def loss_named(name: str, from_logits: bool | None = None) -> Loss | None:
    """The loss of that name, written in either of Keras' ways; None for others."""
    base = name.rpartition(".")[2].rpartition(">")[2]
    meaning = _MEANINGS.get(base.lower().replace("_", ""))
    return None if meaning is None else Loss(base, meaning, from_logits)
