"""One architecture: how it is built, and samples that suit it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Sampler = Callable[[np.random.Generator, int], Array]

SAMPLES = 48


@dataclass(frozen=True)
class Architecture:
    """``build`` gives a Keras model; ``samplers`` by input name where normal numbers do not suit.

    ``free``: sizes of further free dimensions of the inputs, by input name.
    """

    name: str
    build: Callable[[Any], Any]
    samplers: Mapping[str, Sampler] = field(default_factory=dict)
    free: Mapping[str, int] = field(default_factory=dict)

    def model(self, keras: Any) -> Any:
        """The model with weights that are all in use: fresh biases and statistics are zeros."""
        keras.backend.clear_session()
        keras.utils.set_random_seed(0)
        model = self.build(keras)
        rng = np.random.default_rng(0)
        for variable in model.variables:
            values = np.asarray(variable)
            if values.dtype.kind != "f" or "seed" in variable.name:
                continue
            if variable.name == "moving_variance":
                variable.assign(rng.uniform(0.5, 1.5, values.shape))
            elif not values.any() or (values == 1).all():
                variable.assign(values + rng.normal(0, 0.1, values.shape))
        return model

    def samples(self, model: Any, count: int = SAMPLES) -> dict[str, Array]:
        """Samples by input name."""
        rng = np.random.default_rng(1)
        found = {}
        for tensor in model.inputs:
            draw = self.samplers.get(tensor.name)
            shape = [self.free.get(tensor.name, 6) if d is None else d for d in tensor.shape[1:]]
            if draw is not None:
                found[tensor.name] = draw(rng, count)
            else:
                found[tensor.name] = rng.normal(size=(count, *shape)).astype("float32")
        return found


def integers(limit: int, *shape: int, dtype: str = "int64") -> Sampler:
    """Numbers below ``limit``."""
    return lambda rng, count: rng.integers(0, limit, (count, *shape)).astype(dtype)


def ones(*shape: int, share: float = 0.2, dtype: str = "float32") -> Sampler:
    """Zeros and some ones."""
    return lambda rng, count: (rng.random((count, *shape)) < share).astype(dtype)


def words(vocabulary: list[str], *shape: int) -> Sampler:
    """Strings out of a vocabulary."""
    return lambda rng, count: rng.choice(np.array(vocabulary), (count, *shape))


def padded(limit: int, steps: int) -> Sampler:
    """Tokens from 1 up, with zeros behind the end of each sequence."""

    def draw(rng: np.random.Generator, count: int) -> Array:
        tokens = rng.integers(1, limit, (count, steps))
        ends = rng.integers(2, steps + 1, (count, 1))
        return np.where(np.arange(steps) < ends, tokens, 0).astype("int64")

    return draw
