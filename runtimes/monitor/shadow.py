"""How far the compressed model's answers lie from fp32's, sample by sample."""

from __future__ import annotations

import numpy as np

from runtimes.base import Array

WORST_DB, BEST_DB = 300.0, -300.0


def disagreement(expected: Array, found: Array) -> Array:
    """1 where the largest value along the last axis is another one, ``[samples, answers]``."""
    other: Array = expected.argmax(axis=-1) != found.argmax(axis=-1)
    differing: Array = other.reshape(len(other), -1).astype(np.float64)
    return differing


def noise_decibels(expected: Array, found: Array) -> Array:
    """Noise over signal of each sample in dB: minus its SQNR, and so larger is worse."""
    signal = expected.reshape(len(expected), -1).astype(np.float64)
    error = signal - found.reshape(len(found), -1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = (error * error).sum(1) / (signal * signal).sum(1)
        decibels = 10 * np.log10(ratio)
    decibels = np.where((error == 0).all(axis=1), BEST_DB, decibels)
    return np.asarray(np.clip(np.nan_to_num(decibels, nan=WORST_DB), BEST_DB, WORST_DB))


def comparable(expected: Array, found: Array) -> bool:
    """Whether two outputs can be compared element by element."""
    return expected.shape == found.shape and expected.dtype.kind == "f" and expected.ndim > 0
