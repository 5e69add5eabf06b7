"""Keras models of a process whose Keras runs on JAX or PyTorch.

The export traces TensorFlow. So the model is saved, and a process that has TensorFlow exports the
file and proves it against its own copy; what the original computes on the same samples is then
compared with the file here.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from converter.export.proof.differences import judge, max_difference
from converter.export.proof.expectations import Expectation
from converter.export.proof.prove import (
    FLOAT32_MATMUL,
    OutputProof,
    feed_of,
    moved_by_rounding,
    where,
)
from runtimes.atomic_files import scratch_folder
from runtimes.base import Array
from runtimes.engines.ort import OrtRuntime
from runtimes.errors import ConversionError, first_line
from runtimes.keras_models.parts import all_layers
from runtimes.keras_models.signature import KerasSignature, keras_signature
from runtimes.options import KerasOptions
from runtimes.parity.tolerance import NOISE_MULTIPLE


@dataclass(frozen=True)
class Sample:
    """A batch that the file was proven on.

    ``inputs`` in Keras' order and ``file_feed`` as the file takes them; ``allowed``: the error of
    each output that rounding explains.
    """

    where: str
    inputs: tuple[Array, ...]
    file_feed: dict[str, Array]
    allowed: dict[str, float]


def proven_on(
    expected: Sequence[Expectation],
    proofs: Sequence[OutputProof],
    signature: KerasSignature,
    images: Collection[str] = (),
) -> tuple[Sample, ...]:
    """The samples of ``proofs``, which begin with those of each run's outputs in order."""
    left = iter(proofs)
    return tuple(
        Sample(
            where(run),
            tuple(run.feed[spec.name] for spec in signature.inputs),
            dict(feed_of(run, images)),
            {one.output: one.allowed for one in islice(left, len(run.outputs))},
        )
        for run in expected
    )


@contextmanager
def as_file(model: Any, keras: KerasOptions) -> Iterator[tuple[Any, KerasOptions]]:
    """What the other process loads for ``model``, and how.

    Raises ``ConversionError`` for a live model that cannot be saved, or whose classes another
    process cannot import.
    """
    if isinstance(model, str | os.PathLike):
        yield Path(model).resolve(), keras
        return
    if not model.built:
        raise ConversionError(
            f"the model {model.name!r} has no weights yet: call it on a batch, or build it, first"
        )
    own = {kind.__name__: kind for kind in map(type, all_layers(model)) if not _of_keras(kind)}
    known = {**own, **dict(keras.custom_objects or {})}
    _refuse_of_script(known)
    with scratch_folder() as folder:
        path = folder / "model.keras"
        try:
            model.save(path)
        except Exception as error:
            raise ConversionError(
                f"the model {model.name!r} cannot be saved for a process that has TensorFlow: "
                f"{type(error).__name__}: {first_line(error)}; or set KERAS_BACKEND=tensorflow "
                "before Keras is imported"
            ) from error
        # The code of its Lambda layers is the caller's own.
        yield path, replace(keras, custom_objects=known, unsafe=True)


def compare_with_original(
    path: str | os.PathLike[str], model: Any, samples: tuple[Sample, ...]
) -> tuple[str, ...]:
    """Compare the file at ``path`` with what ``model`` computes here; notes on what was not.

    Raises ``ConversionError`` where they differ by more than rounding explains.
    """
    try:
        original = _Original(model, keras_signature(model))
        wanted = [original(one.inputs) for one in samples]
    except Exception as error:
        return (
            "the file was compared with a copy of the model on TensorFlow, not with the model "
            f"itself, which could not be run here: {type(error).__name__}: {first_line(error)}",
        )
    with OrtRuntime(path, config=FLOAT32_MATMUL) as runtime:
        for sample, outputs in zip(samples, wanted, strict=True):
            _judge(original, sample, outputs, runtime.run(sample.file_feed))
    return ()


def _judge(
    original: _Original, sample: Sample, outputs: list[Array], found: Mapping[str, Array]
) -> None:
    for index, (name, allowed) in enumerate(sample.allowed.items()):

        def moved_noise(index: int = index) -> float:
            named = {str(place): values for place, values in enumerate(sample.inputs)}
            moved = original(moved_by_rounding(named).values())
            return max_difference(outputs[index], moved[index])

        judge(
            name,
            outputs[index],
            found[name],
            where=sample.where,
            model=original.model.name,
            noises=(partial(_share, allowed), moved_noise),
        )


def _share(allowed: float) -> float:
    """The noise for which the proof allowed this."""
    return allowed / NOISE_MULTIPLE


@dataclass(frozen=True)
class _Original:
    """The live model, on its own backend."""

    model: Any
    signature: KerasSignature

    def __call__(self, inputs: Iterable[Array]) -> list[Array]:
        import keras

        tensors = [keras.ops.convert_to_tensor(values) for values in inputs]
        written = [*self.model.non_trainable_variables, *_states(self.model)]
        before = [np.array(keras.ops.convert_to_numpy(one)) for one in written]
        try:
            found = keras.tree.flatten(self.signature.call(self.model, tensors))
        finally:
            for variable, values in zip(written, before, strict=True):
                variable.assign(values)
        return [np.asarray(keras.ops.convert_to_numpy(tensor)) for tensor in found]


def _states(model: Any) -> list[Any]:
    """What stateful RNNs remember, which Keras does not count among a model's variables."""
    import keras

    kept = keras.tree.flatten([getattr(one, "states", None) for one in all_layers(model)])
    return [one for one in kept if isinstance(one, keras.Variable)]


def _of_keras(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "keras"


def _refuse_of_script(known: Mapping[str, Any]) -> None:
    """Another process would have to run the whole script to have its classes."""
    for name, one in known.items():
        module, qualified = getattr(one, "__module__", ""), getattr(one, "__qualname__", "")
        if module == "__main__" or "<locals>" in qualified:
            raise ConversionError(
                f"{name!r} is defined in the script itself or inside a function: Keras does not "
                "run on TensorFlow here, and the process that has it imports the model's classes "
                "from their modules; move it to a module such as my_layers.py, or set "
                "KERAS_BACKEND=tensorflow before Keras is imported"
            )
