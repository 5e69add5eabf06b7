"""What every engine is: one loaded model that can be run, asked about itself, and closed.

An engine fills in how it loads, runs and lets go of a model; checks, errors and the ``with`` block
are the same for all and stand here. Nothing outside needs to know which engine it has.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import onnx_ir as ir

from runtimes.base import Array, Closable, Feed, TensorSpec
from runtimes.engines.batching import check_feed, check_outputs
from runtimes.engines.placement import Placement
from runtimes.errors import KilnxError, ModelError, first_line
from runtimes.keras_models.signature import LiveModel
from runtimes.onnx_files.load_save import ModelSource


@dataclass(frozen=True)
class Loaded:
    """What an engine knows about a model as soon as it has loaded it."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    placement: Placement
    quantized: bool
    optional_inputs: tuple[TensorSpec, ...] = ()


class Runtime(Closable):
    """One model in one engine, loaded when it is made; use it in a ``with`` block.

    Attributes:
        name: What messages call the model: its path, else its own name.
        inputs: What ``run`` takes; the first axis is the sample.
        optional_inputs: What may be fed as well; else a default in the file holds.
        outputs: What ``run`` gives.
        placement: Where the model's nodes run.
        quantized: Whether some operator works on, or stores weights as, quantized integers.
        threads: The threads that were asked for, None where the engine chooses.

    Raises:
        ModelError: The engine cannot load the model.
        ValueError: ``threads`` is below one.
    """

    engine: ClassVar[str]
    """What messages call the engine."""

    name: str
    inputs: tuple[TensorSpec, ...]
    optional_inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    placement: Placement
    quantized: bool
    threads: int | None

    def __init__(
        self, source: ModelSource | LiveModel, *, name: str, threads: int | None = None
    ) -> None:
        check_threads(threads)
        self.name, self.threads = name, threads
        self._source: ModelSource | LiveModel | None = source
        with self._naming("does not load"):
            found = self._load(source)
        self.inputs, self.outputs = found.inputs, found.outputs
        self.optional_inputs = found.optional_inputs
        self.placement, self.quantized = found.placement, found.quantized
        self._output_names = [spec.name for spec in found.outputs]

    @property
    def source(self) -> ModelSource | LiveModel:
        """What was opened: a path, a graph, or a live Keras model and how it is called."""
        return self._require_open()

    def run(self, feed: Feed, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Run one batch.

        Args:
            feed: Arrays named after the inputs.
            outputs: Names of the outputs to give back; all of them by default.

        Returns:
            Arrays named after the outputs.

        Raises:
            DataError: The feed does not fit the inputs.
            ModelError: The model has no such output, or fails when it runs.
            RuntimeError: The runtime is closed.
        """
        self._require_open()
        fed = [spec for spec in self.optional_inputs if spec.name in feed]
        check_feed(feed, (*self.inputs, *fed), self.name)
        names = self._output_names if outputs is None else list(outputs)
        check_outputs(names, self.outputs, self.name)
        if not names:
            return {}
        with self._naming("failed when it ran"):
            found = self._run(feed, names)
        return dict(zip(names, found, strict=True))

    def prepare(self, feed: Feed) -> Callable[[], object]:
        """Check ``feed`` once and give a function that runs it and nothing else, for timing."""
        self.run(feed)
        return self._prepare(feed)

    def close(self) -> None:
        """Free the model; ``run`` may not be called afterwards. Once more does nothing."""
        if self._source is not None:
            self._source = None
            self._unload()

    def __enter__(self) -> Self:
        self._require_open()
        return self

    @abstractmethod
    def _load(self, source: Any) -> Loaded:
        """Load ``source``, of the type that the engine was given, and say what it is."""

    @abstractmethod
    def _run(self, feed: Feed, names: Sequence[str]) -> Sequence[Array]:
        """The outputs called ``names`` for a feed that fits."""

    @abstractmethod
    def _unload(self) -> None:
        """Let go of what ``_load`` made."""

    def _prepare(self, feed: Feed) -> Callable[[], object]:
        """A function that runs ``feed``, with as little beside as the engine allows."""
        return lambda: self._run(feed, self._output_names)

    def _is_models_fault(self, error: Exception) -> bool:
        """Whether an exception of the engine speaks of the model rather than of a bug here."""
        return True

    def _explain(self, error: Exception) -> str:
        """What an exception of the engine says, in one line."""
        return f"{type(error).__name__}: {first_line(error)}"

    @contextmanager
    def _naming(self, what: str) -> Iterator[None]:
        """Make an exception of the engine one that names the model and says ``what`` it did."""
        try:
            yield
        except (KilnxError, MemoryError):
            raise
        except Exception as error:
            if not self._is_models_fault(error):
                raise
            reason = self._explain(error)
            raise ModelError(f"{self.name} {what} in {self.engine}: {reason}") from error

    def _require_open(self) -> ModelSource | LiveModel:
        if self._source is None:
            raise RuntimeError(f"the runtime of {self.name} is closed; open the model again")
        return self._source


def check_threads(threads: int | None) -> None:
    """Raise ``ValueError`` for a number of threads that is below one."""
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")


def name_of(model: ModelSource) -> str:
    """What messages call an ONNX model: its path, else the name of its graph."""
    if isinstance(model, ir.Model):
        return model.graph.name or "the ONNX model"
    return os.fspath(model)
