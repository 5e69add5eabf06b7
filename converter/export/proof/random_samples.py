"""Sample inputs for a Keras model, for the proof of an export without the user's data."""

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
    """Inputs by name; ``independent`` if every dynamic dimension has a different size."""

    feed: dict[str, Array]
    independent: bool | None


def sample_feeds(
    model: Any, signature: KerasSignature, batch: int, seed: int = 0, size_round: int = 0
) -> Iterator[Sample]:
    """Yield samples of ``batch`` rows, the most informative first, until the model accepts one.

    First, every dynamic dimension has a different size, and different ones in each ``size_round``.
    Then equal axes of different inputs have the same size (two sequences that are added), and then
    all dimensions (square images). Floats are standard normal. Indices are drawn below the
    vocabulary size of the layers that read them, because the result for a larger index is
    undefined, or from the words that a layer knows. If a value masks steps, some samples have
    masked steps before, between and after the others.
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
    """The model's fixed batch size, if it has one."""
    for spec in signature.inputs:
        if spec.shape and isinstance(spec.shape[0], int):
            return spec.shape[0]
    return None


def _array(
    spec: TensorSpec, shape: tuple[int, ...], use: InputUse, random: np.random.Generator
) -> Array:
    """Values that suit the layers that read them, see ``sample_feeds``."""
    values = _values(spec, shape, use, random)
    if use.masked is None or len(shape) < 2:
        return values
    absent = _absent(shape[:2], random)
    if values.dtype.kind in "iu" or use.limit is not None:  # an index: none may be masked by chance
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
    """Which steps to mask, bool (samples, steps); at least one step per sample is left.

    Of every three samples, the first is masked at both ends and in between, the second at its end,
    and the third nowhere.
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
