"""Inputs to time a model with: the user's own samples, or made up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtimes.base import Array, TensorSpec
from runtimes.data.dataset import Dataset
from runtimes.errors import DataError


@dataclass(frozen=True)
class TimingInputs:
    """Arrays by input name, and what the user should know about them."""

    feed: dict[str, Array]
    notes: tuple[str, ...]


def sampled_inputs(data: Dataset, inputs: Sequence[TensorSpec], batch: int) -> TimingInputs:
    """The first ``batch`` samples of one shape, repeated where the data hold fewer."""
    first = next(iter(data.bind(inputs).batches(batch)))
    rows = np.arange(batch) % len(first)
    notes = () if len(first) == batch else (f"batch {batch}: {len(first)} samples were repeated",)
    scalars = {spec.name for spec in inputs if spec.shape == ()}
    feed = {n: np.asarray(v[0]) if n in scalars else v[rows] for n, v in first.feed.items()}
    return TimingInputs(feed, notes)


def made_up_inputs(inputs: Sequence[TensorSpec], batch: int, seed: int = 0) -> TimingInputs:
    """Random inputs: floats normal, integers and booleans 0 or 1, which any table can look up.

    The first axis is the batch; other dynamic dimensions are 1, and noted. Raises ``DataError``
    for inputs that cannot be made up: text, or a rank that is not known.
    """
    rng = np.random.default_rng(seed)
    feed: dict[str, Array] = {}
    notes = []
    for spec in inputs:
        if spec.shape is None or spec.dtype.kind == "O":
            raise DataError(f"inputs for {spec} cannot be made up; give some with data")
        shape = [dim if isinstance(dim, int) else 1 for dim in spec.shape]
        if spec.shape and not isinstance(spec.shape[0], int):
            shape[0] = batch
        free = [dim for dim in spec.shape[1:] if not isinstance(dim, int)]
        if free:
            notes.append(
                f"{spec.name}: the dynamic dimensions {', '.join(str(dim or '?') for dim in free)} "
                "were set to 1; give data for the sizes that you use"
            )
        if spec.dtype.kind in "biu":
            feed[spec.name] = np.asarray(rng.integers(0, 2, shape)).astype(spec.dtype)
        else:
            feed[spec.name] = np.asarray(rng.standard_normal(shape)).astype(spec.dtype)
    return TimingInputs(feed, tuple(notes))
