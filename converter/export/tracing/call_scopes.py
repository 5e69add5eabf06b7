"""Remove function calls from the names of operators inlined from a SavedModel's functions.

An inlined function leaves its caller in the names of its operators:
``StatefulPartitionedCall/StatefulPartitionedCall/cnn/conv/Conv2D``. Without the calls, what is
left is the scope that the operator had when the model was saved: its Keras layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from typing import Any

from converter.export.tracing.layer_scopes import layer_of

_CALL = re.compile(r"(Stateful)?PartitionedCall(_\d+)?")

# Scopes that layers open inside themselves, by their names in TensorFlow and Keras.
_INNER = re.compile(
    r"(Tensordot|while|cond|batchnorm|moments|embedding_lookup|TensorArray\w*|strided_slice"
    r"|None_\w+|einsum|zeros|ones)(_\d+)?"
)


def strip_calls(graph_def: Any, layers: Set[str], *, fixed: Iterable[str], whole: str) -> set[str]:
    """Rename the operators of inlined functions after their scopes, in place.

    ``layers`` are the paths of the Keras layers that were called, ``fixed`` the nodes that keep
    their names, and ``whole`` the layer that is the model itself if the model is a SavedModel: it
    is left out of the names, and so is a scope that contains all others. Returns the scopes, which
    are paths like those of ``layers``.
    """
    kept = set(fixed)
    inlined = {
        node.name: parts
        for node in graph_def.node
        if node.name not in kept and (parts := _without_calls(node.name, layers, whole))
    }
    if whole in layers:
        _drop_common_root(inlined)
    taken = {node.name for node in graph_def.node if node.name not in inlined}
    names: dict[str, str] = {}
    for name, parts in inlined.items():
        wanted = candidate = "/".join(parts)
        count = 0
        while candidate in taken:
            count += 1
            candidate = f"{wanted}_{count}"
        taken.add(candidate)
        names[name] = candidate
    _rename(graph_def, names)
    operators = {"/".join(parts) for parts in inlined.values()}
    return {path for parts in inlined.values() if (path := _scope(parts, operators))}


def _without_calls(name: str, layers: Set[str], whole: str) -> list[str] | None:
    """The parts of a name without the calls; ``None`` if it was not in a function."""
    parts = name.split("/")
    calls = [index for index, part in enumerate(parts) if _CALL.fullmatch(part)]
    if not calls or calls[0] == len(parts) - 1 or parts[0] == "Func":
        return None
    caller = layer_of(name, layers)
    inside = [part for part in parts[calls[0] + 1 :] if not _CALL.fullmatch(part)]
    outside = [] if caller in (None, whole) else str(caller).split("/")
    return [*outside, *inside] if inside else None


def _drop_common_root(inlined: dict[str, list[str]]) -> None:
    """Leave out the scope of the model itself, in place."""
    roots = {parts[0] for parts in inlined.values() if len(parts) > 1}
    if len(roots) == 1:
        for name, parts in inlined.items():
            inlined[name] = parts[1:] if parts[1:] else parts


def _scope(parts: list[str], operators: Set[str]) -> str:
    """The path that contains an operator, up to the first part that is another operator."""
    path = ""
    for part in parts[:-1]:
        longer = f"{path}/{part}" if path else part
        if longer in operators or _INNER.fullmatch(part):
            break
        path = longer
    return path


def _rename(graph_def: Any, names: dict[str, str]) -> None:
    for node in graph_def.node:
        node.name = names.get(node.name, node.name)
        node.attr.pop("_class", None)
        for index, source in enumerate(node.input):
            control = "^" if source.startswith("^") else ""
            tensor, colon, output = source.removeprefix("^").partition(":")
            node.input[index] = f"{control}{names.get(tensor, tensor)}{colon}{output}"
