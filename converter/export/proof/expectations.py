"""What Keras answers to some inputs, to hold an exported file against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from converter.export.proof.random_samples import Sample, fixed_batch, sample_feeds
from runtimes import Dataset
from runtimes.base import Array
from runtimes.errors import ConversionError
from runtimes.keras_models.signature import KerasSignature

_BATCHES = (1, 3)


@dataclass(frozen=True)
class Expectation:
    """A batch and what the Keras model gives for it, outputs flat and in order.

    ``independent`` says whether every dynamic dimension of the inputs had a size of its own;
    ``None`` for the user's data, whose sizes are what they are.
    """

    batch: int
    feed: dict[str, Array]
    outputs: tuple[Array, ...]
    independent: bool | None


def expectations(
    model: Any, signature: KerasSignature, data: Any = None, seed: int = 0
) -> tuple[Expectation, ...]:
    """Run the Keras model on two batch sizes (one, where its batch is fixed).

    ``data`` (what ``Dataset.open`` takes) is used where given, else random samples. Raises
    ``ConversionError`` when Keras itself accepts none of them.
    """
    fixed = fixed_batch(signature)
    batches = _BATCHES if fixed is None else (fixed,)
    return tuple(_expect(model, signature, data, batch, seed) for batch in batches)


def run_keras(model: Any, signature: KerasSignature, feed: dict[str, Array]) -> tuple[Array, ...]:
    """The model's outputs for ``feed``, flat and in order; without a trace, so it is quick."""
    import keras

    tensors = [keras.ops.convert_to_tensor(feed[spec.name]) for spec in signature.inputs]
    outputs = signature.call(model, tensors)
    return tuple(np.asarray(tensor) for tensor in keras.tree.flatten(outputs))


def run_in_graph(
    model: Any, signature: KerasSignature, feed: dict[str, Array]
) -> tuple[Array, ...]:
    """The outputs as ``model.predict`` has them: of a graph, which some layers do otherwise.

    ``Resizing`` gives uint8 images back as uint8 when it is called, and as float32 in a graph.
    """
    import keras
    import tensorflow as tf

    specs = [
        tf.TensorSpec(
            None if spec.shape is None else [d if isinstance(d, int) else None for d in spec.shape],
            spec.dtype,
        )
        for spec in signature.inputs
    ]

    def call(*tensors: Any) -> list[Any]:
        flat: list[Any] = keras.tree.flatten(signature.call(model, tensors))
        return flat

    function = tf.function(call, input_signature=specs)
    tensors = [keras.ops.convert_to_tensor(feed[spec.name]) for spec in signature.inputs]
    return tuple(np.asarray(tensor) for tensor in function(*tensors))


def _expect(model: Any, signature: KerasSignature, data: Any, batch: int, seed: int) -> Expectation:
    refusal: Exception | None = None
    for sample in _samples(model, signature, data, batch, seed):
        try:
            outputs = run_keras(model, signature, sample.feed)
        except Exception as error:
            refusal = refusal or error
            continue
        return Expectation(batch, sample.feed, outputs, sample.independent)
    raise ConversionError(
        f"the Keras model {model.name!r} itself fails on sample inputs {signature} "
        f"({type(refusal).__name__}: {str(refusal).strip().splitlines()[0]}); "
        "give samples that it accepts with --data"
    ) from refusal


def _samples(
    model: Any, signature: KerasSignature, data: Any, batch: int, seed: int
) -> Iterator[Sample]:
    if data is None:
        yield from sample_feeds(model, signature, batch, seed)
        return
    for found in islice(Dataset.open(data, inputs=signature.inputs).batches(batch), 1):
        yield Sample(dict(found.feed), independent=None)
