"""Keras' outputs for some inputs, to compare an exported file with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from converter.export.proof.keras_calls import call_eagerly
from converter.export.proof.random_samples import Sample, fixed_batch, sample_feeds
from converter.export.proof.resized_samples import OTHER_SIZES, SHORT, resized
from runtimes import Dataset
from runtimes.base import Array
from runtimes.errors import ConversionError
from runtimes.keras_models.signature import KerasSignature
from runtimes.keras_models.state import kept_state

_BATCHES = (1, 3)
_OTHER_BATCH = 2


@dataclass(frozen=True)
class Expectation:
    """A batch and the Keras model's outputs for it, flat and in order.

    ``independent`` says whether every dynamic dimension of the inputs had a different size;
    ``None`` for the user's data, whose sizes cannot be chosen. ``sizes`` holds the sizes of the
    dynamic dimensions by name. ``moved``: the variables that the call wrote to; they were restored
    afterwards.
    """

    batch: int
    feed: dict[str, Array]
    outputs: tuple[Array, ...]
    independent: bool | None
    sizes: dict[str, int]
    moved: tuple[Any, ...] = ()


def expectations(
    model: Any, signature: KerasSignature, data: Any = None, seed: int = 0
) -> tuple[Expectation, ...]:
    """Run the Keras model on two batch sizes (one if its batch size is fixed).

    If there are other dynamic dimensions, it is also run at a different kind of sizes, if it
    accepts any, and at short ones if calls change the model's state. ``data`` (what
    ``Dataset.open`` takes) is used if given, cut or repeated for the other sizes; otherwise the
    samples are random. Raises ``ConversionError`` if Keras itself accepts no sample.
    """
    fixed = fixed_batch(signature)
    batches = _BATCHES if fixed is None else (fixed,)
    runs = []
    for number, batch in enumerate(batches):
        samples = (
            sample_feeds(model, signature, batch, seed, size_round=number)
            if data is None
            else _given(data, signature, batch)
        )
        runs.append(_required(model, signature, samples, data))
    if signature.is_dynamic:
        batch = _OTHER_BATCH if fixed is None else fixed
        others = (
            sample_feeds(model, signature, batch, seed, size_round=2)
            if data is None
            else resized(signature, runs[-1].feed, OTHER_SIZES)
        )
        runs += _if_accepted(model, signature, others)
        if any(run.moved for run in runs):
            # Over a long sequence, a model forgets its initial state.
            runs += _if_accepted(model, signature, resized(signature, runs[-1].feed, SHORT))
    return tuple(runs)


def _if_accepted(
    model: Any, signature: KerasSignature, samples: Iterable[Sample]
) -> list[Expectation]:
    found, _ = _first_accepted(model, signature, samples)
    return [] if found is None else [found]


def _required(
    model: Any, signature: KerasSignature, samples: Iterable[Sample], data: Any
) -> Expectation:
    found, refusal = _first_accepted(model, signature, samples)
    if found is not None:
        return found
    what = "sample inputs" if data is None else "the given samples, which should be"
    advice = "; give samples that it accepts with --data" if data is None else ""
    raise ConversionError(
        f"the Keras model {model.name!r} itself fails on {what} {signature}{advice}. "
        f"{type(refusal).__name__}: {reason_of(refusal)}"
    ) from refusal


def _first_accepted(
    model: Any, signature: KerasSignature, samples: Iterable[Sample]
) -> tuple[Expectation | None, Exception | None]:
    """The first sample whose outputs hold numbers, or else the first one that Keras accepts.

    A window that is longer than the sample results in outputs that are empty or NaN.
    """
    accepted: Expectation | None = None
    refusal: Exception | None = None
    for sample in samples:
        if accepted is not None and sample.independent != accepted.independent:
            continue
        try:
            with kept_state(model) as moved:
                outputs = call_eagerly(model, signature, sample.feed)
        except Exception as error:
            refusal = refusal or error
            continue
        sizes = _sizes(signature, sample.feed)
        batch = next((len(values) for values in sample.feed.values() if values.ndim), 1)
        found = Expectation(batch, sample.feed, outputs, sample.independent, sizes, tuple(moved))
        if all(map(_tells_something, outputs)):
            return found, None
        accepted = accepted or found
    return accepted, refusal


def _tells_something(output: Array) -> bool:
    if output.size == 0:
        return False
    return output.dtype.kind not in "fV" or bool(np.isfinite(output.astype(np.float64)).any())


def _sizes(signature: KerasSignature, feed: dict[str, Array]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for spec in signature.inputs:
        for axis, dim in enumerate(spec.shape or ()):
            if isinstance(dim, str):
                sizes.setdefault(dim, feed[spec.name].shape[axis])
    return sizes


def reason_of(error: BaseException | None) -> str:
    """The full error message of a user's model, without colour codes."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    return re.sub(r"\n\s*\n+", "\n", text) or type(error).__name__


def _given(data: Any, signature: KerasSignature, batch: int) -> Iterator[Sample]:
    """The first batch of the user's data."""
    for found in islice(Dataset.open(data, inputs=signature.inputs).batches(batch), 1):
        yield Sample(dict(found.feed), independent=None)
