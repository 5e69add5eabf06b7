"""Engines that plan a model for one set of input sizes: it is opened once for each set.

OpenCV and tract read models with free sizes, too. But OpenCV's classic engine then refuses, or
gets wrong, models that it runs well with fixed sizes, tract ends the process on recurrent layers,
and both plan better for what they know.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir

from runtimes.base import Array, Feed
from runtimes.engines.failing_node import first_failing_node, named
from runtimes.engines.fixed_sizes import (
    Sizes,
    in_a_file,
    only_batch_is_free,
    sizes_of,
    smallest_sizes,
    with_sizes,
)
from runtimes.engines.placement import LayerPrecision, Placement
from runtimes.engines.runtime import Loaded, Runtime, name_of
from runtimes.engines.self_contained import self_contained
from runtimes.errors import ModelError
from runtimes.onnx_files.load_save import ModelSource, load_model, model_inputs, model_outputs
from runtimes.onnx_graph.quantized import is_quantized

_KEPT = 3
"""Sets of sizes that a model stays open for: each holds the weights again."""

_TRIALS = 2
"""Runs that show whether an engine runs a model: some keep a state that spoils the second."""


@dataclass(frozen=True)
class Opened:
    """A model that an engine has opened at one set of sizes, and its outputs in order."""

    model: Any
    outputs: tuple[str, ...]


class Refused(Exception):
    """What an engine says of a model that it does not run; names the node where it can."""


class ShapedRuntime(Runtime):
    """One ONNX model in an engine that is given fixed sizes.

    Args:
        model: The path of an ONNX file, or a graph.
        threads: The number of threads of a run.

    Raises:
        RuntimeUnavailable: The engine is not installed.
        ModelError: It does not run the model; the message names the node.
    """

    asked: ClassVar[str]
    """The provider's name."""

    def __init__(self, model: ModelSource, *, threads: int | None = None) -> None:
        super().__init__(model, name=name_of(model), threads=threads)

    def _load(self, source: ModelSource) -> Loaded:
        version = self._require()
        graph = self_contained(load_model(source))
        self._graph: ir.Model | None = graph
        self._specs = {spec.name: spec for spec in model_outputs(graph)}
        self._fed = model_inputs(graph)
        self._opened: OrderedDict[Sizes, Opened] = OrderedDict()
        layers = self._first_look()
        nodes = len(layers) or len(list(graph.graph))
        placement = Placement(self.asked, {self.engine: nodes}, (), tuple(layers))
        outputs = tuple(self._specs.values())
        return Loaded(self._fed, outputs, placement, is_quantized(graph), (), version)

    def _run(self, feed: Feed, names: Sequence[str]) -> Sequence[Array]:
        sizes = sizes_of(feed, self._fed)
        opened = self._at(sizes)
        try:
            found = dict(zip(opened.outputs, self._call(opened, feed), strict=True))
        except Exception as error:
            if not self._is_engines(error):
                raise
            raise Refused(self._with_node(error, sizes, feed)) from error
        return [self._as_declared(name, found[name]) for name in names]

    def _prepare(self, feed: Feed) -> Callable[[], object]:
        opened, call = self._at(sizes_of(feed, self._fed)), self._call
        return lambda: call(opened, feed)

    def _unload(self) -> None:
        self._graph = None
        self._opened.clear()

    def _is_models_fault(self, error: Exception) -> bool:
        return isinstance(error, Refused)

    def _explain(self, error: Exception) -> str:
        return str(error)

    @abstractmethod
    def _require(self) -> str:
        """Import the engine and return its version, or raise ``RuntimeUnavailable``."""

    @abstractmethod
    def _open(self, path: Path, sizes: Sizes) -> Any:
        """The model in the file, ready to be called."""

    @abstractmethod
    def _call(self, opened: Opened, feed: Feed) -> Sequence[Array | None]:
        """All outputs, in order."""

    @abstractmethod
    def _layers(self, opened: Opened) -> Sequence[LayerPrecision]:
        """What the engine made of the model."""

    @abstractmethod
    def _is_engines(self, error: Exception) -> bool:
        """Whether the engine raised ``error``, and not kilnx."""

    @abstractmethod
    def _reason(self, error: Exception) -> str:
        """The engine's message in one line; begins with ``node`` where it names one."""

    def _adapted(self, model: ir.Model) -> ir.Model:
        """``model``, which may be changed, in a form that the engine takes better."""
        return model

    def _first_look(self) -> Sequence[LayerPrecision]:
        """Run the model on ones at its smallest sizes: what does not run is refused at once.

        Not on zeros: OpenCV divides integers, and sizes, by them, which ends the process. And it
        goes on with the axes and sizes of its first run: what was tried here is opened again.

        Sizes other than the batch that the file leaves open may not go together when all are 1:
        what fails then is said by the first run, and its layers stay unknown.
        """
        sizes = smallest_sizes(self._fed)
        feed = {
            spec.name: np.ones(shape, spec.dtype)
            for spec, shape in zip(self._fed, sizes, strict=True)
        }
        try:
            for _ in range(_TRIALS):
                self._run(feed, list(self._specs))
            return self._layers(self._at(sizes))
        except (Refused, ModelError):
            if only_batch_is_free(self._fed):
                raise
            return ()
        finally:
            self._opened.clear()

    def _at(self, sizes: Sizes) -> Opened:
        if sizes in self._opened:
            self._opened.move_to_end(sizes)
            return self._opened[sizes]
        assert self._graph is not None
        try:
            opened = self._open_model(with_sizes(self._graph, sizes), sizes)
        except Exception as error:
            if not self._is_engines(error):
                raise
            raise Refused(self._with_node(error, sizes, None)) from error
        self._opened[sizes] = opened
        while len(self._opened) > _KEPT:
            self._opened.popitem(last=False)
        return opened

    def _open_model(self, model: ir.Model, sizes: Sizes) -> Opened:
        outputs = tuple(str(value.name) for value in model.graph.outputs)
        with in_a_file(self._adapted(model)) as path:
            return Opened(self._open(path, sizes), outputs)

    def _with_node(self, error: Exception, sizes: Sizes, feed: Feed | None) -> str:
        """The reason, with the node: from the message, or found by trying parts of the model."""
        reason = self._reason(error)
        if reason.startswith("node ") or self._graph is None:
            return reason

        def fails(model: ir.Model) -> bool:
            try:
                opened = self._open_model(model, sizes)
                for _ in range(0 if feed is None else _TRIALS):
                    self._call(opened, feed or {})
            except Exception as found:
                if not self._is_engines(found):
                    raise
                return True
            return False

        node = first_failing_node(with_sizes(self._graph, sizes), fails)
        return reason if node is None else named(node, reason)

    def _as_declared(self, name: str, value: Array | None) -> Array:
        """An output in the dtype that the file declares; engines widen and narrow some."""
        spec = self._specs[name]
        if value is None:
            raise ModelError(f"{self.name}: {self.engine} gives no values for its output {name!r}")
        if not spec.accepts(value.shape):
            raise ModelError(
                f"{self.name}: {self.engine} gives {name!r} the shape {list(value.shape)}, and the "
                f"model declares {spec}"
            )
        if spec.dtype == value.dtype or spec.dtype == np.dtype(object):
            return value
        return value.astype(spec.dtype)
