"""What is run while it is timed: one feed for each batch size, that all models can take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runtimes.base import Array
from runtimes.data.dataset import Dataset
from runtimes.data.timing_inputs import made_up_inputs, sampled_inputs
from runtimes.engines.batching import fixed_batch
from runtimes.engines.runtime import Runtime
from runtimes.errors import ModelError


@dataclass(frozen=True)
class Workload:
    """What is run: one feed per batch size."""

    feeds: dict[int, dict[str, Array]]
    notes: tuple[str, ...]


def workload_of(
    runtimes: Sequence[Runtime], batch: Sequence[int], data: Any, seed: int
) -> Workload:
    """The first samples of ``data``, or random numbers, at each of the batch sizes."""
    inputs = runtimes[0].inputs
    samples = None if data is None else Dataset.open(data, inputs=inputs)
    notes = list(samples.notes) if samples else []
    feeds = {}
    for size in _sizes(runtimes, batch, notes):
        if samples is None:
            made = made_up_inputs(inputs, size, seed)
        else:
            made = sampled_inputs(samples, inputs, size)
        notes += [note for note in made.notes if note not in notes]
        feeds[size] = made.feed
    if samples is None and any(spec.dtype.kind in "iu" for spec in inputs):
        notes.append("integer inputs were filled with 0 and 1; give data to time realistic values")
    return Workload(feeds, tuple(notes))


def renamed(feed: dict[str, Array], first: Runtime, other: Runtime) -> dict[str, Array]:
    """The same arrays under the other model's input names, matched by name or by position."""
    wanted = [spec.name for spec in other.inputs]
    if set(wanted) == set(feed):
        return feed
    if len(wanted) != len(feed):
        raise ModelError(
            f"{first.name} takes {len(feed)} inputs and {other.name} takes {len(wanted)}; "
            "only models with the same inputs can be timed against each other"
        )
    return {name: feed[spec.name] for name, spec in zip(wanted, first.inputs, strict=True)}


def _sizes(runtimes: Sequence[Runtime], batch: Sequence[int], notes: list[str]) -> list[int]:
    fixed = {
        size: runtime.name
        for runtime in runtimes
        if (size := fixed_batch(runtime.inputs, runtime.name)) is not None
    }
    if len(fixed) > 1:
        raise ModelError(
            "the models fix different batch sizes: "
            + ", ".join(f"{name} {size}" for size, name in sorted(fixed.items()))
        )
    if not fixed:
        return list(dict.fromkeys(batch))
    size, name = fixed.popitem()
    if list(batch) != [size]:
        notes.append(f"{name} has a fixed batch size of {size} and was timed at that size only")
    return [size]
