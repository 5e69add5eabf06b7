"""Errors of one layer, added up over batches, and what rounding or a scale explains of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from runtimes.base import Array, Feed
from runtimes.errors import ModelError
from runtimes.parity.float64.evaluator import DoubleEvaluator
from runtimes.parity.layers.report import decibels
from runtimes.parity.tolerance import NOISE_MULTIPLE

_EPSILON = float(np.finfo(np.float32).eps)
# Where a factor for each channel explains all but this share of the error's power, it is one.
_UNEXPLAINED = 0.1
_WORTH_SCALING = 1e-3  # of the reference's power


@dataclass
class LayerError:
    """Errors of one value, added up over the batches."""

    peak: float = 0.0
    error: float = 0.0
    isolated: float = 0.0
    signal: float = 0.0
    error_power: float = 0.0
    isolated_power: float = 0.0
    noise: float | None = None

    def add(self, expected: Array, own: Array, alone: Array) -> None:
        """One batch: the reference, the candidate, the layer alone; float64, one shape."""
        finite = np.isfinite(expected)
        self.peak = max(self.peak, float(np.max(np.abs(expected), where=finite, initial=0.0)))
        self.signal += float(np.sum(expected**2, where=finite))
        self.error, power = _apart(expected, own, self.error)
        self.error_power += power
        self.isolated, power = _apart(expected, alone, self.isolated)
        self.isolated_power += power

    def isolated_decibels(self) -> float | None:
        """SQNR of the layer alone, dB; None where it is exact."""
        return decibels(self.signal, self.isolated_power)


def _apart(expected: Array, found: Array, so_far: float) -> tuple[float, float]:
    with np.errstate(invalid="ignore"):
        error = np.where(found == expected, 0.0, np.abs(found - expected))
    error = np.where(np.isfinite(error), error, np.inf)
    return max(so_far, float(error.max(initial=0.0))), float((error**2).sum())


def rounding_limit(peak: float, noise: float) -> float:
    """The largest error that rounding explains, of a layer with that ``peak`` and own ``noise``."""
    return NOISE_MULTIPLE * max(noise, _EPSILON * peak)


def own_noise(model: ir.Model, feed: Feed, found: Array) -> float | None:
    """The rounding error of a part on ``feed``; None where it cannot be evaluated in double."""
    try:
        exact = next(iter(DoubleEvaluator(model).run(feed).values()))
    except ModelError:
        return None
    apart, _ = _apart(exact, found.astype(np.float64), 0.0)
    return apart


def channel_scale(own: Array, expected: Array) -> Array | None:
    """A factor for each channel, where the candidate's value is the reference's times that.

    Equalized channels are so on purpose, and the next layer undoes it.
    """
    wide, other = expected.astype(np.float64), own.astype(np.float64)
    power = float((wide**2).sum())
    plain_error = float(((other - wide) ** 2).sum())
    if wide.ndim < 2 or power == 0 or not plain_error > _WORTH_SCALING * power:
        return None
    for axis in range(1, wide.ndim):
        others = tuple(a for a in range(wide.ndim) if a != axis)
        below = (wide**2).sum(axis=others, keepdims=True)
        factor = (wide * other).sum(axis=others, keepdims=True) / np.where(below == 0, 1, below)
        factor[(below == 0) | (factor <= 0)] = 1.0
        scaled = wide * factor
        left = float(((other - scaled) ** 2).sum())
        if left < _UNEXPLAINED * plain_error:
            return np.asarray(factor)
    return None
