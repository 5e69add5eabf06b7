"""Which weights take fewer bits: those that save most bytes for the noise they add, first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import onnx_ir as ir

from quantizers.low_bit.forms import Form, Stored, forms_of, ladder, store_as
from quantizers.low_bit.noise import Noise, with_weights
from quantizers.low_bit.store import MIN_OPSET, store_weight
from quantizers.low_bit.targets import Target, find_targets
from quantizers.options import DEFAULT_OPTIONS, QuantizeOptions
from runtimes.base import Array
from runtimes.data.dataset import Dataset
from runtimes.errors import DataError
from runtimes.onnx_graph.values import constant, opset

Accept = Callable[[ir.Model], bool]
"""Whether a model is good enough to go on with."""


@dataclass(frozen=True)
class Move:
    """A weight that takes fewer bits; ``noise``: what it adds to the outputs' (a share)."""

    target: Target
    stored: Stored
    saved: int
    noise: float


@dataclass(frozen=True)
class StoredWeights:
    """Weights of ``model`` in fewer bits: the first ``count`` of all ``moves``, cheapest first."""

    model: ir.Model
    moves: Sequence[Move]
    count: int

    @cached_property
    def chosen(self) -> Mapping[str, Move]:
        """By initializer, the last move of each: the fewest bits that it takes."""
        return {move.target.name: move for move in self.moves[: self.count]}

    @property
    def saved_bytes(self) -> int:
        """By how much the file shrinks, about."""
        return sum(move.saved for move in self.moves[: self.count])

    @property
    def noise(self) -> float:
        """What all together add to the outputs' noise, as a share of the signal."""
        return float(sum(move.noise for move in self.moves[: self.count]))

    def in_float(self) -> ir.Model:
        """The model that ONNX Runtime makes of ``build``, with the weights as they will be."""
        values = {name: move.stored.weight.values() for name, move in self.chosen.items()}
        return with_weights(self.model, values)

    def build(self) -> ir.Model:
        """A copy of the model that stores the weights so."""
        copy = self.model.clone()
        for name, move in self.chosen.items():
            store_weight(copy.graph, copy.graph.initializers[name], move.stored.weight)
        return copy

    def with_less_noise(self, share: float) -> StoredWeights | None:
        """As many of the moves as add ``share`` of the noise; None where that is none."""
        allowed, total = self.noise * share, 0.0
        for index, move in enumerate(self.moves[: self.count]):
            total += move.noise
            if total > allowed:
                return replace(self, count=index) if index else None
        return None

    def describe(self) -> str:
        """How many weights take which form, in a line."""
        forms = Counter(move.stored.form for move in self.chosen.values())
        total = len({move.target.name for move in self.moves})
        kinds = ", ".join(f"{count} as {form}" for form, count in sorted(forms.items()))
        return f"{len(self.chosen)} of {total} weights in fewer bits: {kinds}"

    def to_dict(self) -> dict[str, Any]:
        """What became of each weight, for the report."""
        return {
            "weights": [
                {
                    "name": name,
                    "layer": move.target.layer,
                    "form": move.stored.form,
                    "bits": move.stored.weight.bits,
                    "bytes": move.stored.bytes,
                    "bytes_before": _bytes_of(self.model, name),
                }
                for name, move in self.chosen.items()
            ],
            "noise_db": None if self.noise <= 0 else -10 * float(np.log10(self.noise)),
        }


def store_weights(
    model: ir.Model,
    data: Dataset,
    accept: Accept,
    *,
    options: QuantizeOptions = DEFAULT_OPTIONS,
    forms: Mapping[str, str] | None = None,
) -> StoredWeights | None:
    """Find the weights of ``model`` that can do with fewer bits, as far as ``accept`` says.

    Every weight is tried alone on some of ``data``; those that save most for the noise that they
    add come first, and of these as many as ``accept`` takes together. ``forms`` by initializer are
    taken as they are, in place of searching. None: there are none. The model stays as it is.

    Raises ``DataError`` for ``forms`` of weights that it does not have.
    """
    if opset(model) < MIN_OPSET:
        return None
    targets = find_targets(model, data, options)
    if forms is not None:
        return _replayed(model, targets, forms)
    moves = _moves(model, targets, Noise(model, data, options))
    count = _most_accepted(model, moves, accept)
    return StoredWeights(model, moves, count) if count else None


def _moves(model: ir.Model, targets: Sequence[Target], noise: Noise) -> list[Move]:
    """What each weight can do, all in the order of noise for a byte."""
    moves = []
    for target in targets:
        weight = _weight(model, target.name)
        steps = ladder(weight, target)
        if not steps:
            continue
        probe = steps[-1] if len(steps) < 3 else steps[-2]
        measured = noise.of({target.name: probe.weight.values()})
        if not math.isfinite(measured):
            continue
        price = measured / probe.error if probe.error > 0 else 0.0
        size, error = weight.nbytes, 0.0
        for step in steps:
            added = price * (step.error - error)
            moves.append(Move(target, step, size - step.bytes, added))
            size, error = step.bytes, step.error
    return sorted(moves, key=lambda move: move.noise / move.saved)


def _most_accepted(model: ir.Model, moves: Sequence[Move], accept: Accept) -> int:
    """How many of the moves can be made, by halving the range."""
    low, high = 0, len(moves)
    while low < high:
        middle = (low + high + 1) // 2
        if accept(StoredWeights(model, moves, middle).in_float()):
            low = middle
        else:
            high = middle - 1
    return low


def _replayed(
    model: ir.Model, targets: Sequence[Target], forms: Mapping[str, str]
) -> StoredWeights | None:
    known = {target.name: target for target in targets}
    moves = []
    for name, form in forms.items():
        target = known.get(name)
        possible: dict[str, Form] = {} if target is None else {one: one for one in forms_of(target)}
        if target is None or form not in possible:
            raise DataError(
                f"the decisions store the weight {name!r} as {form}, but this model has no such "
                "weight; give the report of the same model, compressed with the same steps"
            )
        weight = _weight(model, name)
        stored = store_as(weight, target, possible[form])
        moves.append(Move(target, stored, weight.nbytes - stored.bytes, 0.0))
    return StoredWeights(model, moves, len(moves)) if moves else None


def _weight(model: ir.Model, name: str) -> Array:
    weight = constant(model.graph.initializers[name])
    assert weight is not None
    return weight


def _bytes_of(model: ir.Model, name: str) -> int:
    return _weight(model, name).nbytes
