"""What the reference has at the rows that refits look at, kept from one plan to the next.

All plans are fitted to the results of the same model on the same data; they differ in the channels
that stay. So the rows are drawn once for a layer, and the reference computes them once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from converter.pruning.operators.channels import IntArray
from converter.pruning.regression import LinearLayer
from converter.pruning.repair.walk import Walk
from runtimes.base import Array

# Layers for which a run of their own pays: what they read and give is held for a batch.
_MANY = 2


@dataclass(frozen=True)
class Drawn:
    """Of one batch: the numbers of its rows, and ``targets [groups, rows, outputs]`` there."""

    rows: IntArray
    targets: Array

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.rows.nbytes + self.targets.nbytes


@dataclass(frozen=True)
class Asked:
    """The rows of ``layer`` that a refit looks at, at most ``most`` of each batch.

    ``target`` names the results there; None stands for what the layer makes of its input.
    """

    layer: LinearLayer
    target: str | None
    most: int

    @property
    def key(self) -> tuple[object, ...]:
        """What tells these rows from others."""
        return (str(self.layer.node.name), self.layer.weight, self.target, self.most)

    @property
    def names(self) -> list[str]:
        """The values of the reference that tell."""
        return [self.layer.source] if self.target is None else [self.layer.source, self.target]

    def most_bytes(self, batches: int) -> int:
        """What the rows of so many batches take, at most."""
        groups, _, outputs = self.layer.weights().shape
        return int(batches * self.most * (groups * outputs + 2) * 4)

    def drawn(self, batch: Mapping[str, Array], random: np.random.Generator) -> Drawn:
        """The rows of one batch."""
        rows = choose(random, self.layer.count_rows(batch[self.layer.source]), self.most)
        return Drawn(rows, results(self.layer, self.target, batch, rows))


class ReferenceRows:
    """Rows of one reference on one set of data, ``most_bytes`` of them kept in memory."""

    def __init__(self, seed: int, most_bytes: int) -> None:
        self._seed, self._most, self._left = seed, most_bytes, most_bytes
        self._kept: dict[tuple[object, ...], list[Drawn]] = {}

    def clear(self) -> None:
        """Give the memory back; what is asked for again is computed again."""
        self._kept.clear()
        self._left = self._most

    def learn(self, asked: Iterable[Asked], batches: int, walk: Callable[[], Walk]) -> None:
        """Compute together, in one run of the reference, what will be asked for.

        Nothing where the first of them is known, and only what is sure to find room: the rest is
        computed when it is asked for. ``walk`` gives the reference, stopped before all of these
        layers, with so many ``batches``.
        """
        chosen: dict[tuple[object, ...], Asked] = {}
        room = self._left
        for one in asked:
            if one.key in self._kept and not chosen:
                return
            room -= one.most_bytes(batches)
            if room < 0:
                break
            if one.key not in self._kept:
                chosen[one.key] = one
        if len(chosen) < _MANY:
            return
        random = {key: draws(one.layer, self._seed) for key, one in chosen.items()}
        found: dict[tuple[object, ...], list[Drawn]] = {key: [] for key in chosen}
        names = list(dict.fromkeys(name for one in chosen.values() for name in one.names))
        for batch in walk().batches(names):
            for key, one in chosen.items():
                found[key].append(one.drawn(batch, random[key]))
        self._kept |= found
        self._left -= sum(drawn.nbytes for rows in found.values() for drawn in rows)

    def batches(self, asked: Asked, walk: Callable[[], Walk]) -> Iterator[Drawn]:
        """The rows of each batch.

        ``walk`` gives the reference, stopped before the layer's node; it is asked for only where
        the rows are not known yet.
        """
        if asked.key in self._kept:
            yield from self._kept[asked.key]
            return
        found: list[Drawn] = []
        left = self._left
        random = draws(asked.layer, self._seed)
        for batch in walk().batches(asked.names):
            drawn = asked.drawn(batch, random)
            left -= drawn.nbytes
            if left >= 0:
                found.append(drawn)
            yield drawn
        if left >= 0:
            self._kept[asked.key], self._left = found, left


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
