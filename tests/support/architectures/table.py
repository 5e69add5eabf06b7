"""All architectures, and the layers of the layer table between layers that have weights to cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from architectures import generative, images, sequences, tables
from architectures.case import Architecture
from layer_cases.case import Case
from layer_cases.table import FAMILIES

FAMILY_OF = {
    "images": images.ARCHITECTURES,
    "generative": generative.ARCHITECTURES,
    "sequences": sequences.ARCHITECTURES,
    "tables": tables.ARCHITECTURES,
}


def all_architectures() -> list[Architecture]:
    """Every one; two of one name would hide each other."""
    found = [one for family in FAMILY_OF.values() for one in family]
    names = [one.name for one in found]
    if len(set(names)) < len(names):
        raise AssertionError(
            f"of the same name: {sorted({n for n in names if names.count(n) > 1})}"
        )
    return found


def layers_between() -> Iterator[tuple[str, Architecture]]:
    """Family and network of every case of the layer table that takes one batch of numbers."""
    for family in FAMILIES:
        for case in family.cases():
            if _fits(case):
                name = family.__name__.split(".")[-1]
                yield name, Architecture(case.id, lambda keras, case=case: _between(keras, case))


def _fits(case: Case) -> bool:
    (given, *more) = case.inputs
    plain = not more and given.dtype == "float32" and given.draw is None and case.batch is None
    known = all(isinstance(dim, int) for dim in given.shape)
    return plain and known and 1 <= len(given.shape) <= 4 and not (case.refused or case.needs)


def _between(keras: Any, case: Case) -> Any:
    """The layer with a Dense or a convolution in front of it and a Dense behind."""
    layers, shape = keras.layers, case.inputs[0].shape
    x = source = keras.Input(shape, name="x")
    if len(shape) == 3:
        x = layers.Conv2D(shape[-1], 3, padding="same", activation="relu")(x)
    else:
        x = layers.Dense(shape[-1], activation="relu")(x)
    layer = case.make(keras)
    x = case.call(layer, x) if case.call else layer(x)
    outputs = keras.tree.flatten(x)
    first = outputs[0]
    numbers = keras.backend.standardize_dtype(first.dtype) == "float32"
    if numbers and len(first.shape) > 1 and first.shape[-1] is not None:
        outputs[0] = layers.Dense(4)(first)
    return keras.Model(source, outputs)
