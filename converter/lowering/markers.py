"""Whole Keras layers as one operator each, from the trace to the ONNX nodes.

Seen operator by operator, an LSTM is a loop and a LayerNormalization a dozen nodes. While
``marked_layers`` is active, methods of some Keras layers put a marker operator into the graph
instead: a ``PyFunc`` that is never run, whose token says what the layer is and whose inputs are
the layer's tensors, weights among them. ``lower_marker`` turns it into ONNX nodes.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from converter.lowering.builder import Builder, Shape

_PREFIX = "kilnx:"


@dataclass(frozen=True)
class Replacement:
    """A method of a class, or function of a module, and what stands in for it while tracing.

    ``function`` takes what the original takes and returns what it returns, or
    ``NotImplemented`` where it does not fit: then the original is called. An older Keras has
    not all of them: ``owner`` is None for a class that it lacks.
    """

    owner: Any
    method: str
    function: Callable[..., Any]

    @property
    def exists(self) -> bool:
        """Whether this Keras has the method."""
        return self.owner is not None and self.method in vars(self.owner)


@dataclass(frozen=True)
class Marker:
    """A marker as its lowering sees it: tensor names by role, and the layer's configuration."""

    inputs: Mapping[str, str]
    config: Mapping[str, Any]
    shapes: tuple[Shape, ...]


Lowering = Callable[[Builder, Marker], Sequence[str]]
"""Writes the nodes of one kind of marker and returns the names of its outputs."""


def mark(
    kind: str,
    inputs: Mapping[str, Any],
    outputs: Sequence[tuple[Sequence[int | None], Any]],
    **config: Any,
) -> list[Any]:
    """Put a marker into the graph that is being traced and return its output tensors.

    ``inputs`` are tensors by role, those that are ``None`` left out; ``outputs`` are static
    shapes and dtypes; ``config`` is what the lowering of ``kind`` has to know, as JSON.
    """
    import tensorflow as tf

    given = {role: tensor for role, tensor in inputs.items() if tensor is not None}
    shapes = [[-1 if dim is None else dim for dim in shape] for shape, _ in outputs]
    token = {"kind": kind, "inputs": list(given), "shapes": shapes, "config": config}
    marked = tf.raw_ops.PyFunc(
        input=list(given.values()),
        token=_PREFIX + json.dumps(token),
        Tout=[dtype for _, dtype in outputs],
        name=kind,
    )
    # The shape of a PyFunc is unknown to every reader of the graph but for this.
    return [
        tf.ensure_shape(tensor, shape) for tensor, (shape, _) in zip(marked, outputs, strict=True)
    ]


@contextmanager
def replaced(replacements: Sequence[Replacement]) -> Iterator[None]:
    """Let ``replacements`` stand in for what they replace, and put that back.

    The caller makes sure that one thread at a time is in here.
    """
    originals: list[tuple[Any, str, Any]] = []
    try:
        for replacement in filter(lambda one: one.exists, replacements):
            original = vars(replacement.owner)[replacement.method]
            originals.append((replacement.owner, replacement.method, original))
            wrapped = _wrap(original, replacement.function)
            setattr(replacement.owner, replacement.method, wrapped)
        yield
    finally:
        for owner, method, original in reversed(originals):
            setattr(owner, method, original)


def _wrap(original: Any, function: Callable[..., Any]) -> Any:
    import tensorflow as tf

    # The original stays open to autograph, which a user's layer inside it may need.
    function = tf.autograph.experimental.do_not_convert(function)

    # Keras reads the signature of ``call`` where a layer is made inside another's call.
    @functools.wraps(original)
    def replacement(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        return original(*args, **kwargs) if result is NotImplemented else result

    return replacement


def marker_handler(lowerings: Mapping[str, Lowering]) -> Callable[..., None]:
    """A tf2onnx handler for ``PyFunc`` that writes the markers' nodes.

    A ``PyFunc`` of the user's own stays as it is, for the export to refuse by name.
    """

    def handler(ctx: Any, node: Any, _name: str, _args: Any) -> None:
        token = node.get_attr_str("token")
        if not token.startswith(_PREFIX):
            return
        parsed = json.loads(token[len(_PREFIX) :])
        marker = Marker(
            dict(zip(parsed["inputs"], node.input, strict=True)),
            parsed["config"],
            tuple(parsed["shapes"]),
        )
        builder = Builder(ctx, node)
        outputs = lowerings[parsed["kind"]](builder, marker)
        builder.replace(outputs, marker.shapes)

    return handler
