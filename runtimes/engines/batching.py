"""What is fed to a model: checked against its inputs, padded where the batch is fixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from runtimes.base import Array, Feed, TensorSpec
from runtimes.errors import DataError, ModelError


class Runner(Protocol):
    """What can be fed: a runtime, or something that evaluates a model in another way."""

    name: str
    inputs: tuple[TensorSpec, ...]

    def run(self, feed: Feed, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Run one batch."""
        ...


def check_feed(feed: Feed, inputs: Sequence[TensorSpec], model: str) -> None:
    """Raise ``DataError`` unless ``feed`` holds each input with its dtype and shape."""
    names = {spec.name for spec in inputs}
    if feed.keys() != names:
        raise DataError(
            f"{model} takes the inputs {_listed(names)}, the data hold {_listed(feed.keys())}"
        )
    for spec in inputs:
        value = feed[spec.name]
        if value.dtype != spec.dtype or not spec.accepts(value.shape):
            raise DataError(
                f"{model} takes {spec}, the data hold {value.dtype.name}{list(value.shape)}"
            )


def check_outputs(outputs: Sequence[str], model_outputs: Sequence[TensorSpec], model: str) -> None:
    """Raise ``ModelError`` unless each name in ``outputs`` is an output of the model."""
    names = [spec.name for spec in model_outputs]
    missing = [name for name in outputs if name not in names]
    if missing:
        raise ModelError(f"{model} has no output {missing[0]!r}; it has {_listed(names)}")


def fixed_batch(inputs: Sequence[TensorSpec], model: str = "the model") -> int | None:
    """The number of samples that a model insists on per run, None where it is free.

    Raises ``ModelError`` where an input has no sample axis or two inputs insist on different ones.
    """
    sizes = {}
    for spec in inputs:
        if spec.shape == ():
            raise ModelError(
                f"{model} has the scalar input {spec.name!r}; inputs need a first axis for samples"
            )
        if spec.shape and isinstance(spec.shape[0], int):
            sizes[spec.shape[0]] = spec.name
    if len(sizes) > 1:
        raise ModelError(
            f"{model} fixes different batch sizes for its inputs: "
            + ", ".join(f"{name!r} takes {size}" for size, name in sorted(sizes.items()))
        )
    return next(iter(sizes), None)


def run_padded(
    runtime: Runner, feed: Feed, outputs: Sequence[str] | None = None
) -> dict[str, Array]:
    """Run one batch of at most the model's fixed size; the last sample fills up the rest.

    What the filling gives is cut off again, where an output's first axis is the batch.
    """
    size = fixed_batch(runtime.inputs, runtime.name)
    count = len(next(iter(feed.values()))) if feed else 0
    if size is None or count == size:
        return runtime.run(feed, outputs)
    if count > size:
        raise DataError(f"{runtime.name} takes {size} samples a run, not {count}")
    padded = {name: fill_up(value, size) for name, value in feed.items()}
    return {
        name: value[:count] if value.shape[:1] == (size,) else value
        for name, value in runtime.run(padded, outputs).items()
    }


def fill_up(array: Array, size: int | None) -> Array:
    """As many samples as the model insists on, if it does: the last one is there several times."""
    missing = 0 if size is None else size - len(array)
    return np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) if missing > 0 else array


def _listed(names: object) -> str:
    listed = ", ".join(repr(name) for name in sorted(names))  # type: ignore[call-overload]
    return listed or "nothing"
