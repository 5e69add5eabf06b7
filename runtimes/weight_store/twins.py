"""Weights that a model holds twice: one file in the store, and how the others come from it.

A caller may pass a function that merges such twins in the model that runs: nodes then read a
transposed, reshaped or sliced copy from the weight that is kept. The description of the model still
names every weight that was given; where twins were merged it says for each which of the stored
weights it comes from, and by which views. That is found by comparing bytes, not by trusting the
merger: a model of which a weight would not come back bit by bit is stored unmerged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from runtimes.base import Array
from runtimes.errors import ModelError
from runtimes.onnx_files.tensor_bytes import byte_chunks, digest_of
from runtimes.onnx_graph.fold_views import VIEW_KEY
from runtimes.onnx_graph.values import all_nodes

Merge = Callable[[ir.Model], str]
"""Merges the twins of a model in place; says what kept it from doing so, or nothing."""

PLACE = "in-the-store"
"""Where the weights of a description are said to be: in the order of those that run."""

_FILL = "Fill"
# What a fill may allocate: a description is no reason to believe that there are more zeros.
_MOST_FILLED_BYTES = 1 << 30
_RECIPE = re.compile(PLACE + r"/(\d{1,9}|-)((?:/(?:Reshape|Transpose|Slice|Fill)/[0-9a-f.]*)*)")
_Key = tuple[ir.DataType, tuple[int, ...], str]


@dataclass(frozen=True)
class Recipe:
    """How a weight comes from the ``source``-th that runs (None: from nothing), by ``views``.

    A view is an operator with its numbers: a shape, a permutation, ``(axis, start, stop)``; or
    ``Fill`` with the bytes of the one element.
    """

    source: int | None
    views: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def __str__(self) -> str:
        source = "-" if self.source is None else str(self.source)
        return "/".join((PLACE, source, *(f"{op}/{_text(op, n)}" for op, n in self.views)))


def initializers(model: ir.Model) -> Iterator[ir.Value]:
    """The weights of ``model``, subgraphs included, in the order that files keep."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            if value.const_value is not None:
                yield value


def tensor_of(value: ir.Value) -> ir.TensorProtocol:
    """The tensor of an initializer."""
    assert value.const_value is not None
    return value.const_value


def recipes_of(given: ir.Model, runs: ir.Model) -> list[Recipe] | None:
    """How every weight of ``given`` comes from those of ``runs``, which was cloned from it.

    None where one does not, bit by bit.
    """
    kept = {id(tensor_of(value)): number for number, value in enumerate(initializers(runs))}
    missing = [value for value in initializers(given) if id(tensor_of(value)) not in kept]
    found = _computed(runs, {_kind(tensor_of(value)) for value in missing}) if missing else {}
    recipes = []
    for value in initializers(given):
        tensor = tensor_of(value)
        number = kept.get(id(tensor))
        recipe = Recipe(number) if number is not None else found.get(_key(tensor))
        if recipe is None:
            return None
        recipes.append(recipe)
    return recipes


def restored(place: ir.ExternalTensor, weights: list[ir.TensorProtocol]) -> ir.TensorProtocol:
    """The weight that stands at ``place`` in a description, from the ``weights`` that run."""
    found = _RECIPE.fullmatch(str(place.location))
    if found is None:
        raise ModelError(f"the description in the store has its weights at {place.location!r}")
    parts = found[2].split("/")[1:]
    views = zip(parts[::2], parts[1::2], strict=True)
    try:
        source = None if found[1] == "-" else weights[int(found[1])]
        recipe = [(operator, _numbers(operator, text)) for operator, text in views]
        tensor = _viewed(place, source, recipe)
    except (ValueError, IndexError, TypeError) as error:
        raise ModelError(f"the description in the store cannot be followed: {error}") from error
    if _kind(tensor) != _kind(place) or tuple(tensor.shape.numpy()) != tuple(place.shape.numpy()):
        raise ModelError("the description in the store belongs to another model")
    return tensor


def _kind(tensor: ir.TensorProtocol) -> tuple[ir.DataType, int]:
    return tensor.dtype, tensor.size


def _key(tensor: ir.TensorProtocol) -> _Key:
    return tensor.dtype, tuple(tensor.shape.numpy()), digest_of(byte_chunks(tensor))


def _computed(runs: ir.Model, kinds: set[tuple[ir.DataType, int]]) -> dict[_Key, Recipe]:
    """What ``runs`` holds or computes of weights by views, by its content."""
    found: dict[_Key, Recipe] = {}
    numbers: dict[ir.Value, int] = {}
    for number, value in enumerate(initializers(runs)):
        numbers[value] = number
        if _kind(tensor_of(value)) in kinds:
            found.setdefault(_key(tensor_of(value)), Recipe(number))
    weights = [tensor_of(value) for value in numbers]
    for node in all_nodes(runs):
        recipe = _recipe(node, numbers) if VIEW_KEY in node.metadata_props else None
        if recipe is not None:
            like = node.outputs[0]
            tensor = _made(like, recipe, weights)
            if tensor is not None and _kind(tensor) in kinds:
                found.setdefault(_key(tensor), recipe)
    return found


def _recipe(node: ir.Node, numbers: dict[ir.Value, int]) -> Recipe | None:
    """What a node computes, down to the weight that it reads."""
    if node.op_type == "ConstantOfShape":
        tensor = node.attributes["value"].as_tensor()
        return Recipe(None, ((_FILL, tuple(tensor.tobytes())),))
    source = node.inputs[0]
    if source is None:
        return None
    if source in numbers:
        before = Recipe(numbers[source])
    else:
        producer = source.producer()
        earlier = None if producer is None else _recipe(producer, numbers)
        if earlier is None:
            return None
        before = earlier
    view = _view(node)
    return None if view is None else Recipe(before.source, (*before.views, view))


def _view(node: ir.Node) -> tuple[str, tuple[int, ...]] | None:
    def integers(position: int) -> tuple[int, ...]:
        value = node.inputs[position]
        assert value is not None
        return tuple(int(number) for number in tensor_of(value).numpy())

    if node.op_type == "Transpose":
        return "Transpose", tuple(node.attributes["perm"].as_ints())
    if node.op_type == "Reshape":
        return "Reshape", integers(1)
    if node.op_type == "Slice":
        (start,), (stop,), (axis,) = integers(1), integers(2), integers(3)
        return "Slice", (axis, start, stop)
    return None


def _made(
    output: ir.Value, recipe: Recipe, weights: list[ir.TensorProtocol]
) -> ir.TensorProtocol | None:
    """The tensor of a view; None where the graph does not say what it is."""
    if output.dtype is None or output.shape is None or not output.shape.is_static():
        return None
    place = ir.ExternalTensor(
        PLACE, None, None, output.dtype, shape=ir.Shape(output.shape.numpy()), name="view"
    )
    source = None if recipe.source is None else weights[recipe.source]
    try:
        return _viewed(place, source, list(recipe.views))
    except (ValueError, IndexError, TypeError):
        return None


def _viewed(
    place: ir.ExternalTensor,
    source: ir.TensorProtocol | None,
    views: list[tuple[str, tuple[int, ...]]],
) -> ir.TensorProtocol:
    named: dict[str, Any] = {
        "name": place.name,
        "doc_string": place.doc_string,
        "metadata_props": dict(place.metadata_props),
    }
    if not views and isinstance(source, ir.ExternalTensor):
        return ir.ExternalTensor(
            source.location,
            source.offset,
            source.length,
            source.dtype,
            shape=source.shape,
            base_dir=source.base_dir,
            **named,
        )
    array = None if source is None else source.numpy()
    for operator, numbers in views:
        array = _filled(place, numbers) if operator == _FILL else _step(array, operator, numbers)
    if array is None:
        raise ValueError("it names no weight")
    dtype = place.dtype if source is None else source.dtype
    return ir.Tensor(np.ascontiguousarray(array).reshape(array.shape), dtype=dtype, **named)


def _step(array: Array | None, operator: str, numbers: tuple[int, ...]) -> Array:
    if array is None:
        raise ValueError("it views no weight")
    if operator == "Reshape":
        return array.reshape(numbers)
    if operator == "Transpose":
        return array.transpose(numbers)
    axis, start, stop = numbers
    return array[(slice(None),) * range(array.ndim)[axis] + (slice(start, stop),)]


def _filled(place: ir.ExternalTensor, raw: tuple[int, ...]) -> Array:
    if place.nbytes > _MOST_FILLED_BYTES:
        raise ValueError(f"it fills {place.nbytes} bytes with one value")
    element = np.frombuffer(bytes(raw), place.dtype.numpy(), 1)
    return np.full(tuple(place.shape.numpy()), element[0], element.dtype)


def _text(operator: str, numbers: tuple[int, ...]) -> str:
    return bytes(numbers).hex() if operator == _FILL else ".".join(map(str, numbers))


def _numbers(operator: str, text: str) -> tuple[int, ...]:
    if operator == _FILL:
        return tuple(bytes.fromhex(text))
    return tuple(int(number) for number in text.split(".") if number)
