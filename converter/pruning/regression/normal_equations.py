"""Linear regression from sums: X and T stream by, only XᵀX and XᵀT are kept.

Rows are taken from the means of the first ones, so that products of a batch lose nothing in float32
that the rows had; the sums over batches are in float64.

Ridge regression towards given weights W₀, the mean of every column free:
W = (S + λ·I)⁻¹ (C + λ·W₀) with S = cov(X), C = cov(X, T), λ = damping · mean(diag S), and the
bias that makes the means right. Several systems of one size are solved side by side
(depthwise and grouped convolutions). https://doi.org/10.1080/00401706.1970.10488634
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Floats = np.ndarray[Any, np.dtype[Any]]


# What an error on held-out rows may be above the least one, as a share.
_NEARLY_BEST = 0.05
# Of a difference of two sums of as many equal terms, relative to their size.
_ROUNDING = 1e-12
# A column whose variance is less than this share of its mean square holds what rounding left: which
# digits, the kernels of the CPU decide.
_CONSTANT = 1e-10


@dataclass
class NormalEquations:
    """Sums over rows of ``X [groups, rows, columns]`` and ``T [groups, rows, outputs]``.

    All are sums of X - ``x0`` and T - ``t0``.
    """

    rows: int
    x: Float64
    t: Float64
    xx: Float64
    xt: Float64
    tt: Float64
    x0: Float64
    t0: Float64

    @classmethod
    def empty(cls, groups: int, columns: int, outputs: int) -> Self:
        """No rows yet."""
        return cls(
            0,
            np.zeros((groups, columns)),
            np.zeros((groups, outputs)),
            np.zeros((groups, columns, columns)),
            np.zeros((groups, columns, outputs)),
            np.zeros((groups, outputs)),
            np.zeros((groups, columns)),
            np.zeros((groups, outputs)),
        )

    def update(self, x: Floats, t: Floats) -> None:
        """Add rows, of float32 or float64, in which they are multiplied."""
        if not x.shape[1]:
            return
        if not self.rows:
            self.x0[:], self.t0[:] = x.mean(axis=1), t.mean(axis=1)
        x, t = _less(x, self.x0), _less(t, self.t0)
        across = x.transpose(0, 2, 1)
        self.rows += x.shape[1]
        self.x += x.sum(axis=1, dtype=np.float64)
        self.t += t.sum(axis=1, dtype=np.float64)
        self.xx += across @ x
        self.xt += across @ t
        self.tt += np.square(t).sum(axis=1, dtype=np.float64)

    def plus(self, other: NormalEquations) -> NormalEquations:
        """The sums over the rows of both."""
        if not self.rows:
            return other
        other = other.about(self.x0, self.t0)
        return replace(
            self,
            rows=self.rows + other.rows,
            x=self.x + other.x,
            t=self.t + other.t,
            xx=self.xx + other.xx,
            xt=self.xt + other.xt,
            tt=self.tt + other.tt,
        )

    def about(self, x0: Float64, t0: Float64) -> NormalEquations:
        """The sums of the same rows, of X - ``x0`` and T - ``t0``."""
        x, t, n = self.x0 - x0, self.t0 - t0, self.rows
        xs, ts = self.x + n * x, self.t + n * t
        return NormalEquations(
            n,
            xs,
            ts,
            self.xx + _outer(self.x, x) + _outer(x, xs),
            self.xt + _outer(self.x, t) + _outer(x, ts),
            self.tt + (self.t + ts) * t,
            x0,
            t0,
        )

    def covariance(self, *, centred: bool = True) -> tuple[Float64, Float64]:
        """Covariance of X with itself and with T; about zero where they are not ``centred``."""
        if not centred:
            raw = self.about(np.zeros_like(self.x0), np.zeros_like(self.t0))
            return raw.xx / self.rows, raw.xt / self.rows
        x, t = self.x / self.rows, self.t / self.rows
        own: Float64 = self.xx / self.rows - x[:, :, None] * x[:, None, :]
        with_targets: Float64 = self.xt / self.rows - x[:, :, None] * t[:, None, :]
        return own, with_targets

    def variance(self) -> float:
        """Variance of all targets together: what a constant would leave unexplained."""
        return float((self.tt / self.rows - (self.t / self.rows) ** 2).sum())

    def variance_through(self, weights: Float64) -> float:
        """Variance of all that ``weights`` make of X."""
        own, _ = self.covariance()
        return float(np.einsum("gco,gco->", weights, own @ weights))

    def bias(self, weights: Float64) -> Float64:
        """Bias ``[groups, outputs]`` with which the means come out right."""
        x, t = self._means()
        bias: Float64 = t - np.einsum("gc,gco->go", x, weights)
        return bias

    def _means(self) -> tuple[Float64, Float64]:
        return self.x / self.rows + self.x0, self.t / self.rows + self.t0

    def error(self, weights: Float64, bias: Float64) -> float:
        """Mean squared error of X·weights + bias, summed over the targets."""
        mean_x, mean_t = self._means()
        own, cross = self.covariance()
        spread = self.tt / self.rows - (self.t / self.rows) ** 2
        fitted = np.einsum("gco,gcd,gdo->go", weights, own, weights, optimize=True)
        both = np.einsum("gco,gco->go", weights, cross)
        shift = np.einsum("gc,gco->go", mean_x, weights) + bias - mean_t
        return float((spread + fitted - 2 * both + shift**2).sum())

    def solve(self, prior: Float64, damping: float, *, centred: bool = True) -> Float64:
        """Weights ``[groups, columns, outputs]`` of the ridge regression towards ``prior``.

        Where there can be no bias the rows are not ``centred``.
        """
        own, cross = self.covariance(centred=centred)
        size = own.shape[1]
        # Where X is constant its covariance is what rounding left of equal terms, and may be
        # negative: such columns explain nothing, and keep to ``prior``.
        x, _ = self._means()
        spread = np.diagonal(self.xx, axis1=1, axis2=2) / self.rows - (self.x / self.rows) ** 2
        mean_square = spread + x**2
        varies = np.diagonal(own, axis1=1, axis2=2) > _CONSTANT * mean_square
        own *= varies[:, :, None] & varies[:, None, :]
        cross *= varies[:, :, None]
        floor = _ROUNDING * mean_square.mean(axis=1) + np.finfo(np.float64).tiny
        ridge = np.maximum(damping * np.trace(own, axis1=1, axis2=2) / size, floor)
        diagonal = np.arange(size)
        own[:, diagonal, diagonal] += ridge[:, None]
        solved: Float64 = np.linalg.solve(own, cross + ridge[:, None, None] * prior)
        return solved


def _less(rows: Floats, origin: Float64) -> Floats:
    """Rows ``[groups, rows, columns]`` from an origin, in float32 or what is finer."""
    kind = np.promote_types(rows.dtype, np.float32)
    return np.asarray(rows.astype(kind, copy=False) - origin.astype(kind)[:, None, :])


def _outer(one: Float64, other: Float64) -> Float64:
    return np.asarray(one[:, :, None] * other[:, None, :])


def choose_damping(
    first: NormalEquations,
    second: NormalEquations,
    prior: Float64,
    candidates: Sequence[float],
    *,
    centred: bool = True,
) -> float:
    """The strongest candidate whose fit on the first half explains the second nearly best.

    Weaker ones explain it as well by what clean samples hardly excite, and lose much more once
    samples are not clean. (The rule of one standard error: Hastie, Tibshirani, Friedman, The
    Elements of Statistical Learning, section 7.10.) Of all, where one half has no rows.
    """
    if not (first.rows and second.rows):
        return max(candidates)
    errors = []
    for damping in candidates:
        weights = first.solve(prior, damping, centred=centred)
        bias = first.bias(weights) if centred else np.zeros_like(first.t)
        errors.append(second.error(weights, bias))
    enough = (1 + _NEARLY_BEST) * max(min(errors), 0.0) + _ROUNDING * second.variance()
    return max(one for one, error in zip(candidates, errors, strict=True) if error <= enough)
