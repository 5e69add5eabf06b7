"""Bytes of weights by Keras layer, and in how many bits they are held."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from quantizers.low_bit.store import UNPACKING
from runtimes.onnx_files.load_save import load_model
from runtimes.onnx_graph.layer_names import QUANTIZING, label_of, layer_of


@dataclass(frozen=True)
class LayerWeights:
    """The weights of a layer: their bytes, and bits an element on average."""

    layer: str
    bytes: int
    bits: float


def weights_by_layer(path: Path) -> tuple[LayerWeights, ...]:
    """The layers of a file that have weights, the largest first."""
    size, elements = defaultdict[str, int](int), defaultdict[str, int](int)
    for graph in load_model(path).graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is not None and tensor.size:
                layer = _layer(value)
                size[layer] += tensor.nbytes
                elements[layer] += tensor.size * _codes_in_an_element(value)
    found = [
        LayerWeights(layer, count, round(8 * count / elements[layer], 1))
        for layer, count in size.items()
    ]
    return tuple(sorted(found, key=lambda one: (-one.bytes, one.layer)))


def _layer(value: ir.Value) -> str:
    """The layer of what reads a weight, through Q/DQ and through what unpacks its codes."""
    if str(value.name).startswith(UNPACKING):
        return "unpacking tables"  # of all layers
    consumers = list(value.consumers())
    for node in consumers:
        behind: ir.Node | None = node
        while behind is not None and layer_of(behind) is None and _makes_a_weight(behind):
            behind = next(iter(behind.outputs[0].consumers()), None)
        if behind is not None and layer_of(behind) is not None:
            return label_of(behind)
    return label_of(_first_reader(consumers[0])) if consumers else str(value.name)


def _codes_in_an_element(value: ir.Value) -> int:
    """How many codes are packed into each element of a weight; the width of their table."""
    for cast in value.consumers():
        for reader in cast.outputs[0].consumers():
            table = reader.inputs[0]
            if table is not None and str(table.name).startswith(UNPACKING) and table.const_value:
                return int(table.const_value.numpy().shape[-1])
    return 1


def _makes_a_weight(node: ir.Node) -> bool:
    """Whether a node rounds, or computes a weight from constants."""
    if node.op_type in QUANTIZING:
        return True
    pending = [value for value in node.inputs if value is not None]
    while pending:
        value = pending.pop()
        if value.is_initializer():
            continue
        producer = value.producer()
        if producer is None:
            return False
        pending += [one for one in producer.inputs if one is not None]
    return True


def _first_reader(node: ir.Node) -> ir.Node:
    """What reads the weight that ``node`` makes, if that is what it does."""
    while _makes_a_weight(node) and (readers := list(node.outputs[0].consumers())):
        node = readers[0]
    return node
