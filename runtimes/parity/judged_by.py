"""What is known of a model whose labels have to say by which metric they judge it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from runtimes.base import Array, TensorSpec
from runtimes.data.dataset import Dataset
from runtimes.engines.batching import fixed_batch, run_padded
from runtimes.engines.runtime import Runtime
from runtimes.keras_models.compiled_loss import losses_of
from runtimes.keras_models.signature import LiveModel
from runtimes.parity.choose_metric import Judged

# What a model computes in between is many times its input: a batch holds no more than this.
_MOST_INPUT_BYTES = 4_000_000
# Samples that tell probabilities from logits.
_LOOKED_AT = 32


def judged_by(reference: Runtime, samples: Dataset) -> Judged:
    """The outputs, labels and losses of ``reference``, and its values where they are asked for."""
    source = reference.source
    losses = losses_of(source.model) if isinstance(source, LiveModel) else {}
    look = looked_up(lambda: first_values(reference, samples))
    return Judged(reference.outputs, samples, look, losses)


def looked_up(values: Callable[[], Mapping[str, Array]]) -> Callable[[str], Array]:
    """What ``values`` gives for an output by name; it runs once, when it is first asked for."""
    once = functools.cache(values)
    return lambda output: once()[output]


def first_values(model: Runtime, samples: Dataset) -> dict[str, Array]:
    """What ``model`` gives for the first samples, as far as these have one shape."""
    found: dict[str, list[Array]] = {}
    for batch in samples.take(_LOOKED_AT).batches(fitting_batch(model, _LOOKED_AT)):
        for name, values in run_padded(model, batch.feed).items():
            known = found.setdefault(name, [])
            if not known or known[0].shape[1:] == values.shape[1:]:
                known.append(values)
    return {name: np.concatenate(pieces) for name, pieces in found.items()}


def notes_of_choice(metric: str | None, samples: Dataset) -> tuple[str, ...]:
    """What a user is told of the metric that the labels of ``samples`` chose, or of none."""
    if metric is not None:
        chosen = metric.replace(",", " and ")
        return (f"the labels judge by {chosen}; name another metric to change that",)
    if samples.label_names:
        return (
            f"the folders of {samples.name} are no labels of this model's output: agreement and "
            "SQNR judge; name a metric to use them",
        )
    return ()


def fitting_batch(runtime: Runtime, wanted: int) -> int:
    """What the model insists on, else ``wanted``, or fewer where samples are large."""
    fixed = fixed_batch(runtime.inputs, runtime.name)
    if fixed is not None:
        return min(wanted, fixed)
    return max(1, min(wanted, _MOST_INPUT_BYTES // max(1, sample_bytes(runtime.inputs))))


def sample_bytes(inputs: Sequence[TensorSpec]) -> int:
    """The bytes of one sample, as far as the shapes say."""
    return sum(
        spec.dtype.itemsize * math.prod(dim for dim in spec.shape[1:] if isinstance(dim, int))
        for spec in inputs
        if spec.shape is not None
    )
