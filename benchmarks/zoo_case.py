"""A model of another library: how it is built from a small configuration, and what it is fed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

VOCABULARY = 30
LONGEST = 20

Array = Any
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]


@dataclass(frozen=True)
class Part:
    """A class of a module and what it is called with; arguments may be parts themselves."""

    module: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> Any:
        """The object, its parts built first."""
        made = {name: _built(value) for name, value in self.arguments.items()}
        return getattr(importlib.import_module(self.module), self.name)(**made)


def _built(value: Any) -> Any:
    if isinstance(value, Part):
        return value.build()
    if isinstance(value, list):
        return [_built(one) for one in value]
    return value


@dataclass(frozen=True)
class Case:
    """One model.

    Attributes:
        build: Makes the live model, with random weights.
        lengths: Two sizes for every free dimension of a sequence.
        pixels: Two sizes for every free dimension of an image.
        shapes: All of the shape but the batch, of inputs whose free dimensions hang together.
        draws: How inputs of these names are drawn; others follow from their names and dtypes.
    """

    name: str
    build: Callable[[], Any]
    lengths: tuple[int, int] = (8, 11)
    pixels: tuple[int, int] = (64, 96)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    draws: Mapping[str, Draw] = field(default_factory=dict)


def feed_of(case: Case, model: Any, number: int) -> dict[str, Array]:
    """Inputs by name for the case's first or second size, one row, then three."""
    random = np.random.default_rng(number)
    batch = (1, 3)[number]
    feed = {}
    for tensor in model.inputs:
        free = (case.pixels if len(tensor.shape) >= 4 else case.lengths)[number]
        shape = tuple(
            (batch if axis == 0 else free) if dim is None else int(dim)
            for axis, dim in enumerate(tensor.shape)
        )
        if tensor.name in case.shapes:
            shape = (batch, *case.shapes[tensor.name])
        draw = case.draws.get(tensor.name) or _draw_of(tensor.name, str(tensor.dtype))
        feed[tensor.name] = np.asarray(draw(random, shape)).astype(str(tensor.dtype))
    return feed


def _draw_of(name: str, dtype: str) -> Draw:
    if "mask_positions" in name:
        return lambda random, shape: random.integers(0, 6, shape)
    if "mask" in name and not dtype.startswith("float"):
        return _prefixes
    if "segment" in name:
        return lambda random, shape: random.integers(0, 2, shape)
    if dtype.startswith(("int", "uint")):
        return lambda random, shape: random.integers(1, VOCABULARY, shape)
    if dtype == "bool":
        return lambda random, shape: random.integers(0, 2, shape)
    return lambda random, shape: random.standard_normal(shape)


def _prefixes(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Rows of ones that end in zeros, all but the first, which has no zero."""
    kept = random.integers(2, shape[1] + 1, shape[0]) if len(shape) > 1 else np.array([1])
    kept[0] = shape[1] if len(shape) > 1 else 1
    steps = np.arange(shape[1] if len(shape) > 1 else 1)
    rows = (steps[None] < kept[:, None]).astype(int)
    return np.broadcast_to(rows.reshape(rows.shape + (1,) * (len(shape) - 2)), shape)
