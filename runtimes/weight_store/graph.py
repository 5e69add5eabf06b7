"""A model taken apart for a store: what runs, what describes it, and the weights of both.

The file that runs names its weights by their digests and carries nothing else that a runtime can
do without: values inside have short names, nodes keep theirs, which errors and profiles show.
Names of layers and values, shapes and notes stand in a second file, the *description*: the graph as
it was given with its weights left out, which fine-tuned siblings share. Both together give the
model back.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import onnx_ir as ir

from runtimes.errors import ModelError
from runtimes.onnx_files.tensor_bytes import kept_at
from runtimes.weight_store.twins import (
    PLACE,
    Merge,
    Recipe,
    initializers,
    recipes_of,
    restored,
    tensor_of,
)

WEIGHTS_FOLDER = "weights"
"""Where in a store the weights are, one file each, called by the digest of its bytes."""

SMALLEST_BYTES = 256
"""A smaller tensor stays in the model: a file of its own would cost more."""

# Shapes of values are known to a runtime from the operators; those of others, it must be told.
_KNOWN_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})


def take_apart(
    model: ir.Model, put: Callable[[ir.TensorProtocol], str], merge: Merge | None = None
) -> tuple[bytes, bytes]:
    """The file that runs and the description, serialized.

    ``put`` stores a tensor and gives its digest; ``merge`` lets twins be one weight of the file
    that runs. ``model`` stays as it is. Raises ``ModelError`` where the graph alone exceeds what
    one file holds.
    """
    runs, recipes = _merged(model, merge)
    described = model.clone()
    for owner in initializers(runs):
        tensor = tensor_of(owner)
        if tensor.dtype != ir.DataType.STRING and tensor.nbytes >= SMALLEST_BYTES:
            owner.const_value = kept_at(tensor, f"{WEIGHTS_FOLDER}/{put(tensor)}", str(tensor.name))
        elif isinstance(tensor, ir.ExternalTensor):
            owner.const_value = _embedded(tensor)
    for number, owner in enumerate(initializers(described)):
        tensor = tensor_of(owner)
        if tensor.dtype != ir.DataType.STRING:
            place = PLACE if recipes is None else str(recipes[number])
            owner.const_value = kept_at(tensor, place, str(tensor.name))
    for graph in (*runs.graphs(), *described.graphs()):
        _embed_attributes(graph)
    _strip(runs)
    _shorten(runs)
    return _serialize(runs), _serialize(described)


def _merged(model: ir.Model, merge: Merge | None) -> tuple[ir.Model, list[Recipe] | None]:
    """A copy to run, and how the weights come from its own; None where they are the same."""
    runs = model.clone()
    if merge is None:
        return runs, None
    reason = merge(runs)
    recipes = None if reason else recipes_of(model, runs)
    if recipes is None:
        return model.clone(), None
    unmoved = [Recipe(number) for number in range(sum(1 for _ in initializers(runs)))]
    return runs, None if recipes == unmoved else recipes


def put_together(runs: ir.Model, description: ir.Model) -> ir.Model:
    """Give ``description`` the weights of ``runs`` (not copied): the model that was taken apart."""
    weights, places = list(initializers(runs)), list(initializers(description))
    if any(_is_recipe(place) for place in places):
        stored = [tensor_of(weight) for weight in weights]
        for place in places:
            if isinstance(place.const_value, ir.ExternalTensor):  # texts stay in the description
                place.const_value = restored(place.const_value, stored)
        return description
    if [_kind(value) for value in places] != [_kind(value) for value in weights]:
        raise ModelError("the description in the store belongs to another model")
    for place, weight in zip(places, weights, strict=True):
        place.const_value = weight.const_value
    return description


def _is_recipe(place: ir.Value) -> bool:
    tensor = place.const_value
    return isinstance(tensor, ir.ExternalTensor) and str(tensor.location) != PLACE


def _kind(value: ir.Value) -> tuple[ir.DataType, tuple[int, ...]]:
    tensor = tensor_of(value)
    return tensor.dtype, tuple(tensor.shape.numpy())


def stored_weights(model: ir.Model) -> Iterator[ir.ExternalTensor]:
    """The weights of ``model`` that lie outside its file, subgraphs included."""
    for value in initializers(model):
        if isinstance(value.const_value, ir.ExternalTensor):
            yield value.const_value


def _embedded(tensor: ir.ExternalTensor) -> ir.TensorProtocol:
    inside = ir.Tensor(tensor.numpy().copy(), dtype=tensor.dtype, name=tensor.name)
    tensor.release()
    return inside


def _embed_attributes(graph: ir.Graph) -> None:
    """Constants inside nodes have no place in a store: runtimes expect them in the file."""
    for node in graph:
        for name, attribute in tuple(node.attributes.items()):
            if attribute.type == ir.AttributeType.TENSOR and isinstance(
                attribute.value, ir.ExternalTensor
            ):
                node.attributes[name] = ir.AttrTensor(name, _embedded(attribute.value))


def _strip(model: ir.Model) -> None:
    """Leave out what no runtime needs; the interface and the names of nodes stay."""
    model.doc_string = None
    model.graph.doc_string = None
    typed = any(
        node.domain not in _KNOWN_DOMAINS for graph in model.graphs() for node in graph
    ) or bool(model.functions)
    for graph in model.graphs():
        kept = {*graph.inputs, *graph.outputs}
        for value in graph.initializers.values():
            if value not in kept:
                _forget(value, types=True)
        for node in graph:
            node.doc_string = None
            node.metadata_props.clear()
            for value in node.outputs:
                if value not in kept:
                    _forget(value, types=not typed)


def _shorten(model: ir.Model) -> None:
    """Give short names to all values that no caller knows: names repeat the path of a layer."""
    known = {str(value.name) for value in (*model.graph.inputs, *model.graph.outputs)}
    values = dict.fromkeys(
        value
        for graph in model.graphs()
        for value in (
            *graph.inputs,
            *graph.initializers.values(),
            *(output for node in graph for output in node.outputs),
        )
        if value.name and str(value.name) not in known
    )
    taken = known | {str(value.name) for value in values}
    fresh = (name for name in map("v{}".format, itertools.count()) if name not in taken)
    for value, name in zip(values, fresh, strict=False):
        value.name = name


def _forget(value: ir.Value, *, types: bool) -> None:
    value.metadata_props.clear()
    value.doc_string = None
    if types:
        value.type = None
        value.shape = None


def _serialize(model: ir.Model) -> bytes:
    try:
        return bytes(ir.to_proto(model).SerializeToString(deterministic=True))
    except ValueError as error:  # protobuf: exceeds maximum size of 2GB
        raise ModelError(
            f"the graph of {model.graph.name or 'the model'} is too large without its weights: "
            f"{error}; constants inside nodes have to become initializers first"
        ) from error
