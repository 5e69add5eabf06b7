"""What a model is measured to do before it is served: its speed, and what batches change.

Batching is an optimization only where the answer to a request is what it would be alone. Whether
it is depends on the model: a scale that is computed over a whole tensor, say, mixes the requests
of a batch. So it is tried, with samples of very different size side by side.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from runtimes.base import Array, Feed, TensorSpec
from runtimes.data.timing_inputs import made_up_inputs
from runtimes.errors import DataError, ModelError
from runtimes.serving.jobs import Engine, Run

INLINE_SECONDS = 0.002
"""The event loop does nothing else for so long at most."""

Rows = Literal["equal", "rounded", "mixed"]
"""Samples in a batch against samples alone: bit by bit, up to the last bits, or not at all."""

# The same products summed in another order differ by so much of the largest value.
_ROUNDING = 1e-5
_BUDGET_SECONDS = 0.02
_SIZES = (4, 8, 16, 32, 64, 128)
_GAIN = 0.95
_SPREAD = (1.0, 8.0, 0.125, 2.0)


@dataclass(frozen=True)
class Measured:
    """An engine, and how its batches compare with single samples."""

    engine: Engine
    rows: Rows


def measure(
    run: Run,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    *,
    samples: Feed | None = None,
    max_batch: int = 32,
) -> Measured:
    """Time a model and see what batches do to it; ``samples`` are better than made-up ones.

    Raises ``ModelError`` where the model fails with the samples that were given.
    """
    names = [spec.name for spec in outputs]
    try:
        feed = samples or made_up_inputs(inputs, 1).feed
        alone = _first_rows(feed, inputs, 1)
        run(alone, names)
        seconds = _fastest(run, alone, names)
    except (DataError, ModelError):
        if samples is not None:
            raise
        # Nobody knows what it takes: it is run in a thread, each request by itself.
        return Measured(Engine(run, INLINE_SECONDS), "mixed")
    inline = int(INLINE_SECONDS / seconds)
    rows: Rows = "mixed"
    batch = 1
    if max_batch > 1 and has_free_batch(inputs, outputs):
        rows = compare_rows(run, inputs, names, samples)
        if rows != "mixed":
            timed = partial(_seconds_each, run, feed, inputs, names)
            batch = _best_batch(timed, seconds, max_batch)
    return Measured(Engine(run, seconds, inline, batch), rows)


def has_free_batch(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> bool:
    """Whether the first axis of every input and output may have any size."""
    return all(spec.shape and not isinstance(spec.shape[0], int) for spec in (*inputs, *outputs))


def compare_rows(
    run: Run, inputs: Sequence[TensorSpec], names: Sequence[str], samples: Feed | None = None
) -> Rows:
    """Whether samples have the same results alone and next to others."""
    count = len(_SPREAD)
    feed = _spread(_first_rows(samples or made_up_inputs(inputs, count).feed, inputs, count))
    try:
        together = run(feed, names)
        alone = [
            run({name: value[i : i + 1] for name, value in feed.items()}, names)
            for i in range(count)
        ]
    except ModelError:
        return "mixed"
    if any(output.shape[:1] != (count,) for output in together):
        return "mixed"
    verdicts = {
        _compare(output[i : i + 1], alone[i][place])
        for place, output in enumerate(together)
        for i in range(count)
    }
    return "mixed" if "mixed" in verdicts else "rounded" if "rounded" in verdicts else "equal"


def _compare(found: Array, wanted: Array) -> Rows:
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return "mixed"
    if found.dtype.kind != "f":
        return "equal" if np.array_equal(found, wanted) else "mixed"
    if np.array_equal(found, wanted, equal_nan=True):
        return "equal"
    largest = np.max(np.abs(wanted), initial=0.0)
    near = np.allclose(found, wanted, rtol=0, atol=_ROUNDING * float(largest), equal_nan=True)
    return "rounded" if near else "mixed"


def _first_rows(feed: Feed, inputs: Sequence[TensorSpec], count: int) -> dict[str, Array]:
    """``count`` samples, repeated where there are fewer; inputs of a fixed size as they are."""
    free = {spec.name for spec in inputs if spec.shape and not isinstance(spec.shape[0], int)}
    return {
        name: np.ascontiguousarray(value[np.arange(count) % len(value)]) if name in free else value
        for name, value in feed.items()
    }


def _spread(feed: dict[str, Array]) -> dict[str, Array]:
    """The samples with very different sizes, so that what mixes them shows."""
    spread = {}
    for name, value in feed.items():
        if value.dtype.kind == "f":
            factors = np.array(_SPREAD, value.dtype).reshape(-1, *[1] * (value.ndim - 1))
            spread[name] = np.asarray(value * factors)
        else:
            spread[name] = value
    return spread


def _fastest(run: Run, feed: Feed, names: Sequence[str]) -> float:
    """Seconds of the fastest of several runs: what a run takes when nothing disturbs it."""
    fastest, end = float("inf"), time.perf_counter() + _BUDGET_SECONDS
    for _ in range(50):
        start = time.perf_counter()
        run(feed, names)
        now = time.perf_counter()
        fastest = min(fastest, now - start)
        if now > end:
            break
    return max(fastest, 1e-6)


def _seconds_each(
    run: Run, feed: Feed, inputs: Sequence[TensorSpec], names: Sequence[str], size: int
) -> float:
    return _fastest(run, _first_rows(feed, inputs, size), names) / size


def _best_batch(seconds_each: Callable[[int], float], alone: float, most: int) -> int:
    """The batch in which a sample takes least; 1 where no batch is faster than single samples."""
    best, least = 1, _GAIN * alone
    for size in sorted({*(size for size in _SIZES if size < most), most}):
        each = seconds_each(size)
        if each < least:
            best, least = size, each
    return best
