"""A model is served only if it still does, on its samples, what its original does.

The bundle's digests tell that the files are those that were proven. This tells that they do the
same here: on this processor, in this version of the runtime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from runtimes.base import Array, Feed
from runtimes.errors import BudgetError
from runtimes.parity.error_sums import decibels
from runtimes.serving.jobs import Run

# Noise of half the signal's power. Whatever budget a model was compressed within, one that is
# worse than this is not the same model.
_MIN_SQNR_DB = 3.0
_MIN_AGREEMENT = 0.5


def prove_parity(
    run: Run,
    original: Run,
    samples: Feed,
    names: Sequence[str],
    *,
    model: str,
    limits: Mapping[str, Any],
    known_as: str = "its fp32 original on the bundle's samples",
) -> None:
    """Raise ``BudgetError`` where the outputs of ``run`` are not those of ``original``.

    ``known_as``: the original in messages. ``limits`` may hold ``min_sqnr`` (dB, for floats) and
    ``min_agreement`` (for all else).
    """
    sqnr = _limit(limits, "min_sqnr", _MIN_SQNR_DB)
    agreement = _limit(limits, "min_agreement", _MIN_AGREEMENT)
    wanted, found = original(samples, names), run(samples, names)
    for name, reference, output in zip(names, wanted, found, strict=True):
        reason = _difference(reference, output, sqnr, agreement)
        if reason:
            raise BudgetError(
                f"{model}: its output {name!r} is not that of {known_as}: {reason}; this version "
                "is not served"
            )


def require_finite(outputs: Sequence[Array], names: Sequence[str], model: str) -> None:
    """Raise ``BudgetError`` for a model that gives NaN for its own samples."""
    for name, output in zip(names, outputs, strict=True):
        if output.dtype.kind == "f" and np.isnan(output).any():
            raise BudgetError(f"{model}: its output {name!r} is NaN for the bundle's own samples")


def _difference(wanted: Array, found: Array, min_sqnr: float, min_agreement: float) -> str:
    if wanted.shape != found.shape:
        return f"the shape is {list(found.shape)}, not {list(wanted.shape)}"
    if wanted.dtype.kind != "f":
        same = float(np.mean(wanted == found)) if wanted.size else 1.0
        return "" if same >= min_agreement else f"{same:.1%} of its values agree"
    if np.isfinite(wanted).all() and not np.isfinite(found).all():
        return "it has NaN or infinite values"
    noise = sqnr_db(wanted, found)
    return "" if noise >= min_sqnr else f"SQNR {noise:.1f} dB, and {min_sqnr:g} dB are needed"


def sqnr_db(wanted: Array, found: Array) -> float:
    """Signal to quantization noise in dB; infinite where both are equal."""
    reference = wanted.astype(np.float64)
    noise = float(np.sum((found.astype(np.float64) - reference) ** 2))
    signal = float(np.sum(reference**2))
    return decibels(signal, noise) if np.isfinite(signal) else float("inf")


def _limit(limits: Mapping[str, Any], name: str, default: float) -> float:
    value = limits.get(name, default)
    return float(value) if isinstance(value, int | float) else default
