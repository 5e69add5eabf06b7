"""Keras as the reference runtime. TensorFlow is imported inside functions only."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from runtimes.base import Array, Feed, TensorSpec
from runtimes.keras_signature import KerasSignature


def quiet_tensorflow() -> None:
    """Silence TensorFlow's start-up lines; to be called before it is imported."""
    raise NotImplementedError


def import_keras() -> Any:
    """Import Keras on TensorFlow without its start-up noise and give the module back.

    Raises ``RuntimeUnavailable`` where it is not installed or runs on another backend.
    """
    raise NotImplementedError


def load_keras_model(
    path: str | os.PathLike[str], *, custom_objects: Mapping[str, Any] | None = None
) -> Any:
    """Load a .keras or HDF5 model without its optimizer and without running code from it.

    Raises ``ModelError`` that says what is wrong with the file: missing, not a Keras model,
    weights only, a custom layer that is not known, a Lambda layer.
    """
    raise NotImplementedError


class KerasRuntime:
    """A Keras model called with ``training=False``.

    ``model``: a live model or a path. ``signature`` is needed for a subclassed model only, whose
    inputs Keras does not record.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __init__(
        self,
        model: Any,
        *,
        signature: KerasSignature | None = None,
        custom_objects: Mapping[str, Any] | None = None,
    ) -> None:
        raise NotImplementedError

    def run(self, feed: Feed, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Run one batch."""
        raise NotImplementedError

    def prepare(self, feed: Feed) -> Callable[[], object]:
        """Check ``feed`` once and give a function that runs it, for timing."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the model."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
