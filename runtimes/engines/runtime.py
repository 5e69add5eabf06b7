"""The base class of all engines: one loaded model that can be inspected, run and closed.

An engine implements how it loads, runs and frees a model. Checks, errors and the ``with`` block
are the same for all engines and are here. Callers need not know which engine they have.
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
    """What an engine knows about a model once it has loaded it."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    placement: Placement
    quantized: bool
    optional_inputs: tuple[TensorSpec, ...] = ()
    version: str = ""


class Runtime(Closable):
    """One model in one engine, loaded by the constructor; use it in a ``with`` block.

    Attributes:
        name: The model's name in messages: its path, or else its own name.
        inputs: What ``run`` takes; the first axis is the batch.
        optional_inputs: Inputs that may be left out; the file has a default for them.
        outputs: What ``run`` returns.
        placement: Where the model's nodes run.
        quantized: Whether some operator works on, or stores weights as, quantized integers.
        threads: The requested number of threads, None if the engine chooses.
        version: The engine's version, as it tells it itself.
        loaded: All that loading told, in one piece.

    Raises:
        ModelError: The engine cannot load the model.
        ValueError: ``threads`` is below one.
    """

    engine: ClassVar[str]
    """The engine's name in messages."""

    name: str
    inputs: tuple[TensorSpec, ...]
    optional_inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    placement: Placement
    quantized: bool
    threads: int | None
    version: str
    loaded: Loaded

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
        self.version = found.version
        self.loaded = found
        self._output_names = [spec.name for spec in found.outputs]

    @property
    def source(self) -> ModelSource | LiveModel:
        """What was opened: a path, a graph, or a live Keras model with its call signature."""
        return self._require_open()

    def run(self, feed: Feed, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Run one batch.

        Args:
            feed: Arrays named after the inputs.
            outputs: Names of the outputs to return; all of them by default.

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
        return dict(zip(names, self.run_checked(feed, names), strict=True))

    def run_checked(self, feed: Feed, names: Sequence[str]) -> Sequence[Array]:
        """Run one batch that is known to fit, as a server's is: the outputs called ``names``.

        Nothing is checked. Raises ``ModelError`` where the model fails when it runs.
        """
        try:
            return self._run(feed, names)
        except (KilnxError, MemoryError):
            raise
        except Exception as error:
            raise self._named(error, "failed when it ran") from error

    def prepare(self, feed: Feed) -> Callable[[], object]:
        """Check ``feed`` once and return a function that only runs it, for timing."""
        self.run(feed)
        return self._prepare(feed)

    def peak_bytes_elsewhere(self) -> int:
        """Bytes that the model added to the peak memory of a process of the engine's own."""
        return 0

    def close(self) -> None:
        """Free the model; ``run`` must not be called afterwards. Closing again does nothing."""
        if self._source is not None:
            self._source = None
            self._unload()

    def __enter__(self) -> Self:
        self._require_open()
        return self

    @abstractmethod
    def _load(self, source: Any) -> Loaded:
        """Load ``source``, which has the type that the engine's constructor takes."""

    @abstractmethod
    def _run(self, feed: Feed, names: Sequence[str]) -> Sequence[Array]:
        """The outputs called ``names`` for a feed that was already checked."""

    @abstractmethod
    def _unload(self) -> None:
        """Free what ``_load`` created."""

    def _prepare(self, feed: Feed) -> Callable[[], object]:
        """A function that runs ``feed`` with as little overhead as the engine allows."""
        return lambda: self._run(feed, self._output_names)

    def _is_models_fault(self, error: Exception) -> bool:
        """Whether the engine's exception is about the model and not a bug in kilnx."""
        return True

    def _explain(self, error: Exception) -> str:
        """The engine's error message in one line."""
        return f"{type(error).__name__}: {first_line(error)}"

    @contextmanager
    def _naming(self, what: str) -> Iterator[None]:
        """Turn the engine's exceptions into a ``ModelError`` that names the model and ``what``."""
        try:
            yield
        except (KilnxError, MemoryError):
            raise
        except Exception as error:
            raise self._named(error, what) from error

    def _named(self, error: Exception, what: str) -> ModelError:
        """The engine's exception as a ``ModelError``; raises one that is a bug in kilnx itself."""
        if not self._is_models_fault(error):
            raise error
        return ModelError(f"{self.name} {what} in {self.engine}: {self._explain(error)}")

    def _require_open(self) -> ModelSource | LiveModel:
        if self._source is None:
            raise RuntimeError(f"the runtime of {self.name} is closed; open the model again")
        return self._source


def check_threads(threads: int | None) -> None:
    """Raise ``ValueError`` if the number of threads is below one."""
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")


def name_of(model: ModelSource) -> str:
    """An ONNX model's name in messages: its path, or else the name of its graph."""
    if isinstance(model, ir.Model):
        return model.graph.name or "the ONNX model"
    return os.fspath(model)
