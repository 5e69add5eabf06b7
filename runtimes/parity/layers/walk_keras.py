"""A Keras model run layer by layer, telling what each layer gives."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from runtimes.base import Array, Feed
from runtimes.keras_models.signature import LiveModel
from runtimes.keras_models.state import kept_state

LayerOutput = Callable[[str, Array], None]
"""Called with the path of a layer, ``inner/conv`` say, and one of its outputs."""

# The hooks stand in Keras' own classes, for the whole process.
_LOCK = threading.RLock()


def walk_keras(source: LiveModel, feed: Feed, emit: LayerOutput) -> None:
    """Run one batch and call ``emit`` with every output of every layer, in order of execution.

    The layers are run eagerly, inner ones before those that hold them; the model's state stays
    as it is. Of functional and sequential models nothing is kept that no later layer needs.
    Paths are those that export writes: without the name of the model itself.
    """
    import keras

    with _LOCK, kept_state(source.model), _told(keras, emit), _forgetting(keras):
        tensors = [keras.ops.convert_to_tensor(feed[spec.name]) for spec in source.signature.inputs]
        source.signature.call(source.model, tensors)


@contextmanager
def _told(keras: Any, emit: LayerOutput) -> Iterator[None]:
    stack: list[str] = []
    original = keras.layers.Layer.__call__

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        stack.append(layer.name)
        path = "/".join(stack[1:])
        try:
            result = original(layer, *args, **kwargs)
        finally:
            stack.pop()
        if path:
            for tensor in keras.tree.flatten(result):
                if hasattr(tensor, "shape") and hasattr(tensor, "numpy"):
                    emit(path, np.asarray(tensor))
        return result

    keras.layers.Layer.__call__ = call
    try:
        yield
    finally:
        keras.layers.Layer.__call__ = original


@contextmanager
def _forgetting(keras: Any) -> Iterator[None]:
    """Let functional models drop each tensor after its last use; Keras keeps all to the end."""
    from keras.src.ops.function import Function

    original = Function._run_through_graph

    def run(function: Any, inputs: Any, operation_fn: Any = None, call_fn: Any = None) -> Any:
        if call_fn is not None or operation_fn is None:
            return original(function, inputs, operation_fn or (lambda op: op), call_fn)
        levels = function._nodes_by_depth
        nodes = [
            node
            for depth in sorted(levels, reverse=True)
            for node in levels[depth]
            if node.operation and not node.is_input
        ]
        uses = Counter(id(x) for node in nodes for x in node.input_tensors)
        uses.update(id(x) for x in function.outputs)
        known = dict(zip(map(id, function.inputs), keras.tree.flatten(inputs), strict=True))
        for node in nodes:
            if all(id(x) in known for x in node.input_tensors):
                args, kwargs = node.arguments.fill_in(known)
                outputs = operation_fn(node.operation)(*args, **kwargs)
                del args, kwargs
                for x, y in zip(node.outputs, keras.tree.flatten(outputs), strict=False):
                    known[id(x)] = y
                del outputs
            for x in node.input_tensors:
                uses[id(x)] -= 1
                if not uses[id(x)]:
                    known.pop(id(x), None)
        return keras.tree.pack_sequence_as(
            function._outputs_struct, [known[id(x)] for x in function.outputs]
        )

    Function._run_through_graph = run
    try:
        yield
    finally:
        Function._run_through_graph = original
