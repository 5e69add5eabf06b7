"""Sample inputs for a Keras model, to prove an export on when the user gives no data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from converter.export.proof.input_uses import InputUse, input_uses
from converter.export.proof.sizes import attempts
from runtimes.base import Array, TensorSpec
from runtimes.keras_models.signature import KerasSignature


@dataclass(frozen=True)
class Sample:
    """Inputs by name; ``independent`` where every dynamic dimension has a size of its own."""

    feed: dict[str, Array]
    independent: bool | None


def sample_feeds(
    model: Any, signature: KerasSignature, batch: int, seed: int = 0, size_round: int = 0
) -> Iterator[Sample]:
    """Yield samples of ``batch`` rows, the most telling first, until the model accepts one.

    First every dynamic dimension has another size, and other ones in each ``size_round``; then
    equal axes of different inputs share theirs (two sequences that are added); then all are
    equal (square images). Floats are standard normal. An input that is looked up is drawn below
    the vocabulary of the layers that read it, because an index beyond has no defined result, or
    from the words that a layer knows. Where a value masks steps, some samples have it before,
    between and after the others.
    """
    uses = input_uses(model, signature.inputs)
    for attempt in attempts(model, signature, batch, size_round):
        random = np.random.default_rng([seed, batch, attempt.number])
        feed = {
            spec.name: _array(spec, shape, use, random)
            for spec, shape, use in zip(signature.inputs, attempt.shapes, uses, strict=True)
        }
        yield Sample(feed, independent=attempt.sharing == "none")


def fixed_batch(signature: KerasSignature) -> int | None:
    """The batch size that the model is bound to, if it is."""
    for spec in signature.inputs:
        if spec.shape and isinstance(spec.shape[0], int):
            return spec.shape[0]
    return None


def _array(
    spec: TensorSpec, shape: tuple[int, ...], use: InputUse, random: np.random.Generator
) -> Array:
    """Values as the layers that read them want them, see ``sample_feeds``."""
    values = _values(spec, shape, use, random)
    if use.masked is None or len(shape) < 2:
        return values
    absent = _absent(shape[:2], random)
    if values.dtype.kind in "iu" or use.limit is not None:  # an index: none is absent by chance
        values[values == use.masked] = 1 if use.limit is None or use.limit > 1 else 0
    values[absent] = use.masked
    return values


def _values(
    spec: TensorSpec, shape: tuple[int, ...], use: InputUse, random: np.random.Generator
) -> Array:
    if use.terms:
        unknown = "not a word of it" if isinstance(use.terms[0], str) else max(use.terms) + 1
        known = np.array([*use.terms, unknown], object if isinstance(unknown, str) else None)
        return random.choice(known, shape).astype(spec.dtype)
    if spec.dtype.kind == "b":
        return random.integers(0, 2, shape).astype(bool)
    if spec.dtype.kind in "OSU":
        return random.choice(np.array(["a", "b", "c d", ""], dtype=object), shape)
    if spec.dtype.kind in "iu" or use.limit is not None:
        high = 256 if spec.dtype == np.uint8 else 2
        high = use.limit if use.limit is not None else high
        if spec.dtype.kind in "iu":
            high = min(high, int(np.iinfo(spec.dtype).max))
        return random.integers(0, max(high, 1), shape).astype(spec.dtype)
    return random.standard_normal(shape).astype(spec.dtype)


def _absent(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Steps that are masked, bool (samples, steps), at least one step of each sample left.

    The first of three samples lacks steps at both ends and in between, the second at its end,
    the third none.
    """
    samples, steps = shape
    absent = np.zeros((samples, steps), bool)
    for sample in range(samples):
        if sample % 3 < 2 and steps > 1:
            absent[sample, steps - max(1, steps // 4) :] = True
        if sample % 3 == 0 and steps > 3:
            absent[sample, 0] = True
            absent[sample, random.integers(2, steps - max(1, steps // 4))] = steps > 4
    return absent
