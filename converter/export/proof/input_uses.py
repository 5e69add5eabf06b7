"""How layers use the inputs of a Keras model: as indices, masked steps or known words.

Random numbers prove little about a model that looks its inputs up in tables and masks zeros, so
samples are drawn according to these uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runtimes.base import TensorSpec


@dataclass(frozen=True)
class InputUse:
    """How one input is read.

    ``limit``: it is an index below this, the smallest size that the layers declare. ``masked``: the
    value that marks a step as masked. ``terms``: values that a lookup layer knows.
    """

    limit: int | None = None
    masked: float | None = None
    terms: tuple[Any, ...] = ()


def input_uses(model: Any, inputs: Sequence[TensorSpec]) -> list[InputUse]:
    """The uses of the inputs of a model, in their order.

    In functional and sequential models, each input is followed to the layers that read it, through
    nested models and layers that keep integers or strings. In other models, all integer inputs
    share what the embeddings declare.
    """
    network = network_of(model)
    if network is not None and len(network.inputs) == len(inputs):
        uses = [InputUse() for _ in inputs]
        _follow(network, [{index} for index in range(len(inputs))], uses)
        return uses
    shared = InputUse()
    for layer in model._flatten_layers():
        declared = _declared(layer)
        if declared.limit is not None:
            shared = _and(shared, declared)
    return [shared if spec.dtype.kind in "iu" else InputUse() for spec in inputs]


def _follow(network: Any, sources: list[set[int]], uses: list[InputUse]) -> list[set[int]]:
    """Record in ``uses`` how a network reads its inputs, which hold the model's ``sources``.

    Returns the sources of the outputs.
    """
    reached = {id(t): s for t, s in zip(network.inputs, sources, strict=True)}
    for _, nodes in sorted(network._nodes_by_depth.items(), reverse=True):
        for node in nodes:
            if node.is_input:
                continue
            tensors = node.arguments.keras_tensors
            read = [reached.get(id(tensor), set()) for tensor in tensors]
            inner = network_of(node.operation)
            if inner is not None and len(inner.inputs) == len(read):
                given = _follow(inner, read, uses)
                reached.update({id(t): s for t, s in zip(node.outputs, given, strict=False)})
                continue
            # The first tensor is the index; CategoryEncoding takes weights as a second one.
            declared = _declared(node.operation, node.arguments.kwargs)
            for index in read[0] if read else ():
                uses[index] = _and(uses[index], declared)
            if declared == InputUse():
                everything: set[int] = set().union(*read)
                # A layer that maps words to numbers does not pass its input on.
                kinds = {_is_string(tensor) for tensor in tensors}
                kept = [t for t in node.outputs if _is_discrete(t) and {_is_string(t)} == kinds]
                reached.update(dict.fromkeys(map(id, kept), everything))
    return [reached.get(id(tensor), set()) for tensor in network.outputs]


def _declared(operation: Any, arguments: Any = None) -> InputUse:
    """What one layer declares about the input that it reads."""
    import keras

    layers = keras.layers
    if isinstance(operation, layers.TimeDistributed):
        operation = operation.layer
    reverse = bool(arguments and arguments.get("reverse"))
    if isinstance(operation, layers.Embedding) and not reverse:
        return InputUse(operation.input_dim, 0.0 if operation.mask_zero else None)
    if isinstance(operation, layers.CategoryEncoding):
        return InputUse(operation.num_tokens)
    if isinstance(operation, layers.Masking):
        return InputUse(masked=float(operation.mask_value))
    if isinstance(operation, layers.StringLookup | layers.IntegerLookup):
        return InputUse(terms=_terms(operation))
    if isinstance(operation, layers.TextVectorization):
        return InputUse(terms=_texts(operation))
    return InputUse()


def _terms(lookup: Any) -> tuple[Any, ...]:
    if lookup.invert:
        return ()
    return tuple(lookup.get_vocabulary(include_special_tokens=False))


def _texts(vectorization: Any) -> tuple[str, ...]:
    """Known words, and texts of three such words."""
    words = [
        str(word) for word in vectorization.get_vocabulary(include_special_tokens=False) if word
    ]
    return (*words, *(" ".join(words[start : start + 3]) for start in range(0, len(words), 3)))


def _and(first: InputUse, second: InputUse) -> InputUse:
    limits = [limit for limit in (first.limit, second.limit) if isinstance(limit, int)]
    masked = second.masked if first.masked is None else first.masked
    return InputUse(min(limits, default=None), masked, first.terms or second.terms)


def network_of(operation: Any) -> Any:
    """A model's graph of layers, ``None`` for a layer or a subclassed model."""
    import keras

    if isinstance(operation, keras.Sequential):
        operation = operation._functional if operation.built else None
    return operation if hasattr(operation, "_nodes_by_depth") else None


def _is_string(tensor: Any) -> bool:
    return str(tensor.dtype) == "string"


def _is_discrete(tensor: Any) -> bool:
    return str(tensor.dtype).startswith(("int", "uint", "string"))
