"""What the reference has at the rows that refits look at, kept from one plan to the next.

All plans are fitted to the results of the same model on the same data; they differ in the channels
that stay. So the rows are drawn once for a layer, and the reference computes them once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from converter.pruning.operators.channels import IntArray
from converter.pruning.regression import LinearLayer
from converter.pruning.repair.walk import Walk
from runtimes.base import Array


@dataclass(frozen=True)
class Drawn:
    """Of one batch: the numbers of its rows, and ``targets [groups, rows, outputs]`` there."""

    rows: IntArray
    targets: Array

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.rows.nbytes + self.targets.nbytes


class ReferenceRows:
    """Rows of one reference on one set of data, ``most_bytes`` of them kept in memory."""

    def __init__(self, seed: int, most_bytes: int) -> None:
        self._seed, self._most, self._left = seed, most_bytes, most_bytes
        self._kept: dict[tuple[object, ...], list[Drawn]] = {}

    def clear(self) -> None:
        """Give the memory back; what is asked for again is computed again."""
        self._kept.clear()
        self._left = self._most

    def batches(
        self, layer: LinearLayer, target: str | None, most: int, walk: Callable[[], Walk]
    ) -> Iterator[Drawn]:
        """At most ``most`` rows of each batch for ``layer``, whose results are ``target``.

        ``walk`` gives the reference, stopped before the layer's node; it is asked for only where
        the rows are not known yet. A ``target`` of None stands for what the layer makes of its
        input.
        """
        key = (str(layer.node.name), layer.weight, target, most)
        if key in self._kept:
            yield from self._kept[key]
            return
        found: list[Drawn] = []
        left = self._left
        for drawn in self._compute(layer, target, most, walk()):
            left -= drawn.nbytes
            if left >= 0:
                found.append(drawn)
            yield drawn
        if left >= 0:
            self._kept[key], self._left = found, left

    def _compute(
        self, layer: LinearLayer, target: str | None, most: int, walk: Walk
    ) -> Iterator[Drawn]:
        random = draws(layer, self._seed)
        names = [layer.source] if target is None else [layer.source, target]
        for batch in walk.batches(names):
            rows = choose(random, layer.count_rows(batch[layer.source]), most)
            yield Drawn(rows, results(layer, target, batch, rows))


def draws(layer: LinearLayer, seed: int) -> np.random.Generator:
    """What draws the rows of a layer: the same ones whenever they are asked for."""
    name = str(layer.node.name).encode()
    return np.random.default_rng([seed, layer.weight, *name])


def choose(random: np.random.Generator, count: int, most: int) -> IntArray:
    """Numbers of at most ``most`` of ``count`` rows, ascending."""
    if count <= most:
        return np.arange(count)
    return np.sort(random.choice(count, most, replace=False))


def results(
    layer: LinearLayer, target: str | None, batch: Mapping[str, Array], rows: IntArray
) -> Array:
    """What the layer gives at these rows, ``[groups, rows, outputs]``; of None: what it makes."""
    if target is not None:
        return layer.targets(batch[target], rows)
    # No value of the graph holds the gates of a recurrent layer: they are made here.
    found = layer.rows(batch[layer.source], rows) @ layer.weights() + layer.bias()[:, None, :]
    return np.asarray(found)
