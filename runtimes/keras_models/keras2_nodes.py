"""The layer calls of a Keras 2 model in Keras 3's format.

Keras 2 writes a call as its first argument with the other arguments attached to it:
``["conv", 0, 0, {"axis": 1}]``, or a nested structure of these. A tensor is
``[layer, node, tensor]``, where ``node`` counts the calls of the layer. For a model used as a
layer, the count starts at one: being built on its own inputs was call zero.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Config = dict[str, Any]
Reference = Callable[[Sequence[Any]], Any]

TEMPLATE_TENSOR = "kilnx_tensor"
"""Key of a tensor's placeholder in the template of a TensorFlow function; holds its position."""

_TENSORFLOW = {"TFOpLambda", "SlicingOpLambda"}
_RECURRENT = {"RNN", "LSTM", "GRU", "SimpleRNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D"}
_CONSTANT = "_CONSTANT_VALUE"
_ENDS = ("input_layers", "output_layers")


def connect(model: Config, layers: Sequence[Config], names: Mapping[str, str]) -> None:
    """Write the calls of ``model``'s layers into ``layers``, their rewritten configurations.

    ``names`` maps the layers to their new names.
    """
    first = _first_calls(model, names)

    def tensor(reference: Sequence[Any]) -> Any:
        layer, node, index = reference[:3]
        # Keras looks the tensor up by its history and ignores this shape.
        history = [names[layer], node - first[layer], index]
        config = {"shape": [], "dtype": "float32", "keras_history": history}
        return {"class_name": "__keras_tensor__", "config": config}

    for layer, rewritten in zip(model["layers"], layers, strict=True):
        nodes = layer.get("inbound_nodes") or []
        calls = [_call(node, names, tensor) for node in nodes]
        if rewritten["class_name"] in _TENSORFLOW:
            calls = [_templated(call) for call in calls]
        elif rewritten["class_name"] in _RECURRENT:
            calls = [_with_states(call) for call in calls]
        rewritten["inbound_nodes"] = calls


def model_ends(model: Config, layers: Sequence[Config], names: Mapping[str, str]) -> Config:
    """The inputs and outputs of ``model``, with calls numbered as in Keras 3."""
    first = _first_calls(model, names)
    # Only here, Keras 3 also counts the calls of a functional model from one.
    functional = {
        old["name"]
        for old, new in zip(model["layers"], layers, strict=True)
        if new["class_name"] == "Functional"
    }

    def end(reference: Sequence[Any]) -> Any:
        layer, node, index = reference[:3]
        return [names[layer], node - first[layer] + (layer in functional), index]

    def rewritten(tensors: Any) -> Any:
        if isinstance(tensors, dict):
            return {key: rewritten(value) for key, value in tensors.items()}
        if _is_tensor(tensors, names):
            return end(tensors)
        return [rewritten(value) for value in tensors]

    def single(tensors: Any) -> Any:
        """A single input or output is the tensor itself, not a list of one."""
        return tensors[0] if isinstance(tensors, list) and len(tensors) == 1 else tensors

    return {key: rewritten(single(model[key])) for key in _ENDS}


def _first_calls(model: Config, names: Mapping[str, str]) -> dict[str, int]:
    """The number of each layer's first call, known because the last call is always used."""
    last = dict.fromkeys(names, 0)
    for layer, node in _references(
        [layer.get("inbound_nodes") for layer in model["layers"]], names
    ):
        last[layer] = max(last[layer], node)
    for layer, node in _references([model[key] for key in _ENDS], names):
        last[layer] = max(last[layer], node)
    calls = {layer["name"]: len(layer.get("inbound_nodes") or []) for layer in model["layers"]}
    return {name: max(last[name] - max(calls[name] - 1, 0), 0) for name in names}


def _references(nest: Any, names: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    if isinstance(nest, dict):
        nest = list(nest.values())
    if not isinstance(nest, list | tuple):
        return
    if _is_tensor(nest, names):
        yield nest[0], nest[1]
        nest = nest[3:]
    for part in nest:
        yield from _references(part, names)


def _is_tensor(value: Any, names: Mapping[str, str]) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and value[0] in names
        and all(isinstance(index, int) for index in value[1:3])
    )


def _call(node: Any, names: Mapping[str, str], tensor: Reference) -> Config:
    """One call, split into positional and keyword arguments."""
    if isinstance(node, dict) and {"args", "kwargs"} <= node.keys():
        return node
    first, keywords = _first_argument(node, names, tensor)
    if isinstance(first, list) and len(first) == 1:
        first = first[0]
    arguments = {key: _argument(value, names, tensor) for key, value in keywords.items()}
    return {"args": [first], "kwargs": arguments}


def _first_argument(
    node: Any, names: Mapping[str, str], tensor: Reference
) -> tuple[Any, dict[str, Any]]:
    """The first argument and the keyword arguments, which are attached to each of its leaves."""
    if isinstance(node, dict):
        named = {key: _first_argument(value, names, tensor) for key, value in node.items()}
        keywords = next((found for _, found in named.values() if found), {})
        return {key: first for key, (first, _) in named.items()}, keywords
    if node and isinstance(node[0], str):
        keywords = node[3] if len(node) > 3 else {}
        return (node[2] if node[0] == _CONSTANT else tensor(node)), keywords
    listed = [_first_argument(value, names, tensor) for value in node]
    return [first for first, _ in listed], next((found for _, found in listed if found), {})


def _argument(value: Any, names: Mapping[str, str], tensor: Reference) -> Any:
    """A keyword argument: any nested structure of tensors, and plain values."""
    if isinstance(value, dict):
        return {key: _argument(part, names, tensor) for key, part in value.items()}
    if not isinstance(value, list):
        return value
    if len(value) >= 3 and value[0] == _CONSTANT:
        return value[2]
    if len(value) == 3 and _is_tensor(value, names):
        return tensor(value)
    return [_argument(part, names, tensor) for part in value]


def _templated(call: Config) -> Config:
    """All tensors as one list, and the arguments as a template with placeholders for them.

    Keras does not accept an argument that mixes tensors and other values in one structure.
    """
    tensors: list[Any] = []

    def extract(value: Any) -> Any:
        if isinstance(value, dict):
            if value.get("class_name") == "__keras_tensor__":
                tensors.append(value)
                return {TEMPLATE_TENSOR: len(tensors) - 1}
            return {key: extract(part) for key, part in value.items()}
        return [extract(part) for part in value] if isinstance(value, list) else value

    template = json.dumps(extract(call))
    return {"args": [tensors], "kwargs": {"template": template}}


def _with_states(call: Config) -> Config:
    """Split off the initial states, which Keras 2 lists after the sequence."""
    (first,) = call["args"]
    if not isinstance(first, list):
        return call
    return {"args": first[:1], "kwargs": {**call["kwargs"], "initial_state": first[1:]}}
