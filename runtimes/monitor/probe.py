"""The model that serves, opened a second time for the monitor, with its saturation as outputs."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from runtimes.base import Array, Closable, Feed, TensorSpec
from runtimes.engines.batching import run_padded
from runtimes.engines.open_runtime import open_runtime
from runtimes.engines.ort import NO_SPINNING
from runtimes.engines.runtime import Runtime
from runtimes.errors import ModelError
from runtimes.monitor.ends import with_ends
from runtimes.onnx_files.load_save import load_model


@dataclass(frozen=True)
class Probed:
    """What one run told: the model's own outputs, and float32 shares ``[samples, activations]``."""

    outputs: dict[str, Array]
    ends: Array


class Probe(Closable):
    """A model with counting outputs in a session of its own, one thread; or one that is open.

    Attributes:
        inputs: What the model takes.
        outputs: What the model itself gives.
        note: Why saturation is not watched, where the counting graph does not load.
    """

    def __init__(self, model: str | os.PathLike[str] | Runtime) -> None:
        self._activations: dict[str, str] = {}
        if isinstance(model, Runtime):  # nothing can be counted inside of it
            self._runtime, self.name, self.note = model, model.name, None
        else:
            self._open(model)
        own = (spec for spec in self._runtime.outputs if spec.name not in self._activations)
        self.inputs: tuple[TensorSpec, ...] = self._runtime.inputs
        self.outputs: tuple[TensorSpec, ...] = tuple(own)

    def _open(self, model: str | os.PathLike[str]) -> None:
        prepared = with_ends(load_model(model))
        self.name, self.note = os.fspath(model), None
        self._activations = prepared.activations
        try:
            self._runtime = open_runtime(prepared.model, threads=1, config=NO_SPINNING)
        except ModelError as error:
            if not self._activations:
                raise
            self.note = f"saturation is not watched: {error}"
            self._activations = {}
            self._runtime = open_runtime(model, threads=1, config=NO_SPINNING)

    note: str | None

    @property
    def activations(self) -> tuple[str, ...]:
        """The activations whose codes at the ends of their ranges are counted."""
        return tuple(self._activations.values())

    def run(self, feed: Feed) -> Probed:
        """Run some samples; they are padded where the model's batch size is fixed."""
        found = run_padded(self._runtime, feed)
        rows = len(next(iter(feed.values())))
        ends = [_by_sample(found.pop(name), rows) for name in self._activations]
        return Probed(found, np.stack(ends, axis=1) if ends else np.zeros((rows, 0), np.float32))

    def close(self) -> None:
        """Close the session."""
        self._runtime.close()


def _by_sample(shares: Array, rows: int) -> Array:
    """One share a sample, also where an activation has several rows of each (steps, say)."""
    if len(shares) % rows == 0:
        return np.asarray(shares.reshape(rows, -1).mean(axis=1))
    return np.full(rows, shares.mean(), np.float32)


def open_probe(model: str | os.PathLike[str]) -> Probe:
    """Open an ONNX file for the monitor; close it, or use it in a ``with`` block."""
    return Probe(model)
