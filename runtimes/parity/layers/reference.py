"""The reference of a comparison by layers: a Keras or ONNX model that tells each value."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import onnx_ir as ir

from runtimes.base import Array, Feed
from runtimes.engines.open_runtime import is_keras, is_runtime, open_runtime
from runtimes.errors import ModelError
from runtimes.keras_models.signature import LiveModel
from runtimes.onnx_files.load_save import load_model, model_inputs
from runtimes.onnx_graph.layer_names import layer_of
from runtimes.parity.layers.walk_keras import walk_keras
from runtimes.parity.layers.walk_onnx import Part, PartedModel, float_values


class Reference:
    """A model that is walked: calls ``emit(key, layer, value)`` for every float inside it."""

    name: str
    inputs: tuple[Any, ...]

    def walk(self, feed: Feed, emit: Callable[[str, str | None, Array], None]) -> None:
        """Run one batch and emit each float value as soon as it is known."""
        raise NotImplementedError


class KerasReference(Reference):
    """A Keras model, told layer by layer."""

    def __init__(self, name: str, source: LiveModel) -> None:
        self._source = source
        self.name, self.inputs = name, source.signature.inputs

    def walk(self, feed: Feed, emit: Callable[[str, str | None, Array], None]) -> None:
        """See ``Reference``: each layer's result, under its path and the number of its call."""
        calls: dict[str, int] = {}

        def tell(path: str, value: Array) -> None:
            calls[path] = calls.get(path, 0) + 1
            if value.dtype.kind == "f":
                emit(path if calls[path] == 1 else f"{path} #{calls[path]}", path, value)

        walk_keras(self._source, feed, tell)


class OnnxReference(Reference):
    """An ONNX graph, told node by node."""

    def __init__(self, graph: ir.Model, provider: str, threads: int | None) -> None:
        self._parted = PartedModel(graph, float_values(graph), provider=provider, threads=threads)
        self.name, self.inputs = name_of(graph), model_inputs(graph)

    def walk(self, feed: Feed, emit: Callable[[str, str | None, Array], None]) -> None:
        """See ``Reference``: each node's result, under its own name."""

        def tell(part: Part, value: Array) -> None:
            if value.dtype.kind == "f":
                node = part.value.producer()
                emit(str(part.value.name), layer_of(node) if node else None, value)

        self._parted.walk(feed, tell)


def open_reference(
    reference: Any, provider: str, threads: int | None, stack: ExitStack
) -> Reference:
    """The reference to walk; a Keras model that is opened here closes with ``stack``."""
    if is_keras(reference):
        reference = stack.enter_context(open_runtime(reference))
    source = reference.source if is_runtime(reference) else reference
    if isinstance(source, LiveModel):
        return KerasReference(reference.name, source)
    return OnnxReference(load_model(source), provider, threads)


def graph_of(model: Any) -> ir.Model:
    """The graph of an ONNX model, open or not; ``ModelError`` for a Keras model."""
    source = model.source if is_runtime(model) else model
    if isinstance(source, LiveModel) or is_keras(source):
        raise ModelError("layers are compared inside an ONNX model: give one as the candidate")
    return load_model(source)


def name_of(graph: ir.Model) -> str:
    """What messages call the model."""
    return graph.graph.name or "the ONNX model"
