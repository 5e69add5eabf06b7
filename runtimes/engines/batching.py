"""Check a feed against a model's inputs, and pad it where the model's batch size is fixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from runtimes.base import Array, Feed, TensorSpec
from runtimes.errors import DataError, ModelError


class Runner(Protocol):
    """Anything that runs batches: a runtime, or another way to evaluate a model."""

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
    """The fixed batch size of a model, None if any size is accepted.

    A scalar input has no batch axis: it is one value for the whole run. Raises ``ModelError`` if
    two inputs require different batch sizes.
    """
    sizes = {}
    for spec in inputs:
        if spec.shape and isinstance(spec.shape[0], int):
            sizes[spec.shape[0]] = spec.name
    if len(sizes) > 1:
        raise ModelError(
            f"{model} fixes different batch sizes for its inputs: "
            + ", ".join(f"{name!r} takes {size}" for size, name in sorted(sizes.items()))
        )
    return next(iter(sizes), None)


def refuse_other_axes(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], model: str
) -> None:
    """Raise ``ModelError`` if samples are not on the first axis of an input or output.

    Such an axis is recognized by its name, which is that of the first dimension of another input.
    The states of PyTorch's recurrent layers are an example: [layers, batch, size]. An output
    without any axis has no samples to compare.
    """
    for spec in outputs:
        if spec.shape == () and any(one.shape for one in inputs):
            raise ModelError(
                f"{model} gives one number {spec.name!r} for all samples of a run, and results "
                "are compared sample by sample; export the model without that output"
            )
    first = {spec.shape[0] for spec in inputs if spec.shape and isinstance(spec.shape[0], str)}
    for kind, specs in (("input", inputs), ("output", outputs)):
        for spec in specs:
            places = [place for place, dim in enumerate(spec.shape or ()) if dim in first]
            if places and places[0] > 0:
                raise ModelError(
                    f"{model} has the samples of its {kind} {spec.name!r} on axis {places[0]}, and "
                    "samples are compared along the first axis; export it with the batch first "
                    "(batch_first=True), or insert a Transpose"
                )


def run_padded(
    runtime: Runner, feed: Feed, outputs: Sequence[str] | None = None
) -> dict[str, Array]:
    """Run one batch of at most the model's fixed size, padded by repeating the last sample.

    The rows of the padding are cut off again from every output whose first axis is the batch.
    """
    size = fixed_batch(runtime.inputs, runtime.name)
    scalars = _scalars(runtime.inputs)
    count = next((len(value) for name, value in feed.items() if name not in scalars), 0)
    if size is not None and count > size:
        raise DataError(f"{runtime.name} takes {size} samples per run, not {count}")
    found = runtime.run(as_taken(feed, runtime.inputs, size, runtime.name), outputs)
    if size is None or count == size:
        return found
    return {
        name: value[:count] if value.shape[:1] == (size,) else value
        for name, value in found.items()
    }


def as_taken(
    feed: Feed, inputs: Sequence[TensorSpec], size: int | None, model: str = "the model"
) -> dict[str, Array]:
    """Samples as a model with these ``inputs`` takes them: filled up to ``size``, if it insists.

    A scalar input gets the value that all samples have. Raises ``DataError`` where they differ.
    """
    scalars = _scalars(inputs)
    return {
        name: _only_value(name, value, model) if name in scalars else fill_up(value, size)
        for name, value in feed.items()
    }


def _scalars(inputs: Sequence[TensorSpec]) -> set[str]:
    return {spec.name for spec in inputs if spec.shape == ()}


def fill_up(array: Array, size: int | None) -> Array:
    """Pad an array to the model's fixed batch size, if it has one, by repeating the last sample."""
    missing = 0 if size is None else size - len(array)
    return np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) if missing > 0 else array


def _only_value(name: str, values: Array, model: str) -> Array:
    """The value for a scalar input: the one that all samples of the run share."""
    if values.ndim and (values != values[:1]).any():
        raise DataError(
            f"{model} takes one {name!r} for all samples of a run, but the data hold several "
            "values; give only samples that share one value"
        )
    return np.asarray(values if values.ndim == 0 else values[0])


def _listed(names: object) -> str:
    listed = ", ".join(repr(name) for name in sorted(names))  # type: ignore[call-overload]
    return listed or "nothing"
