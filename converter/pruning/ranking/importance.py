"""Which units of a group matter least: an order in which to remove them, and what each costs.

``second_order`` is the optimal brain surgeon on blocks: with H = cov(X) + λI of the inputs of a
layer that reads the group and W its weights, removing the columns u and letting all others
make up for it costs tr(W_uᵀ (H⁻¹_uu)⁻¹ W_u), and changes W by −H⁻¹_:u (H⁻¹_uu)⁻¹ W_u.
(Hassibi & Stork 1993; https://arxiv.org/abs/2403.18955 for channels.) The cheapest goes
first, then all are judged again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from converter.pruning.operators.channels import IntArray
from converter.pruning.regression.normal_equations import Float64

# A round inverts a block for each unit: many units go a few at a time.
_ROUNDS = 96


@dataclass
class Reader:
    """A layer that reads a group: ``H⁻¹ [columns, columns]``, ``W [columns, outputs]``.

    ``unit`` says for each column which unit of the group it belongs to (−1: none of them);
    ``scale`` makes costs of different layers comparable: one over the variance of the targets.
    """

    inverse: Float64
    weights: Float64
    unit: IntArray
    scale: float


@dataclass(frozen=True)
class Ranking:
    """Units of a group in the order in which to remove them, cheapest first.

    ``costs[i]``: the share of the readers' variance that is lost, all together, when the first
    i + 1 are gone.
    """

    order: IntArray
    costs: Float64


def second_order(readers: Sequence[Reader], units: int) -> Ranking:
    """Remove units one after the other (a few at a time where there are many)."""
    alive = np.arange(units)
    at_once = -(-units // _ROUNDS)
    order: list[IntArray] = []
    costs: list[Float64] = []
    spent = 0.0
    readers = [replace(reader) for reader in readers]
    while len(alive) > 1:
        cost = np.zeros(len(alive))
        for reader in readers:
            cost += _costs(reader, alive) * reader.scale
        chosen = np.argsort(cost, kind="stable")[: min(at_once, len(alive) - 1)]
        gone = alive[chosen]
        order.append(gone)
        costs.append(spent + np.cumsum(cost[chosen]))
        spent = float(costs[-1][-1])
        for reader in readers:
            _eliminate(reader, gone)
        alive = np.delete(alive, chosen)
    order.append(alive)
    costs.append(np.full(len(alive), np.inf))
    return Ranking(np.concatenate(order), np.concatenate(costs))


def _costs(reader: Reader, alive: IntArray) -> Float64:
    """What removing each of the units would cost this reader."""
    places = np.argsort(reader.unit, kind="stable")
    places = places[np.searchsorted(reader.unit[places], 0) :]
    counts = np.bincount(reader.unit[places], minlength=int(alive.max()) + 1)[alive]
    costs = np.zeros(len(alive))
    starts = np.concatenate([[0], np.cumsum(counts)])
    for size in np.unique(counts[counts > 0]):
        same = np.flatnonzero(counts == size)
        columns = places[starts[same][:, None] + np.arange(size)]
        blocks = reader.inverse[columns[:, :, None], columns[:, None, :]]
        weights = reader.weights[columns]
        costs[same] = np.einsum("uco,uco->u", weights, np.linalg.solve(blocks, weights))
    return costs


def _eliminate(reader: Reader, units: IntArray) -> None:
    """Take the columns of ``units`` out of a reader, the others making up for it."""
    gone = np.isin(reader.unit, units)
    if not gone.any():
        return
    stay = ~gone
    to_gone = reader.inverse[np.ix_(stay, gone)]
    block = reader.inverse[np.ix_(gone, gone)]
    share = np.linalg.solve(block, to_gone.T).T
    reader.weights = reader.weights[stay] - share @ reader.weights[gone]
    reader.inverse = reader.inverse[np.ix_(stay, stay)] - share @ to_gone.T
    reader.unit = reader.unit[stay]


def by_weight_norm(norms: Float64) -> Ranking:
    """The baseline that looks at weights alone: the smallest norm goes first."""
    order = np.argsort(norms, kind="stable")
    total = max(float((norms**2).sum()), np.finfo(np.float64).tiny)
    return Ranking(order, np.cumsum(norms[order] ** 2) / total)


def at_random(units: int, seed: int) -> Ranking:
    """The baseline that looks at nothing."""
    order = np.random.default_rng(seed).permutation(units)
    return Ranking(order, np.arange(1, units + 1) / units)
