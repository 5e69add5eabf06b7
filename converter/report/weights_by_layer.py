"""Bytes of weights by Keras layer, and in how many bits they are held."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

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
                elements[layer] += tensor.size
    found = [
        LayerWeights(layer, count, round(8 * count / elements[layer], 1))
        for layer, count in size.items()
    ]
    return tuple(sorted(found, key=lambda one: (-one.bytes, one.layer)))


def _layer(value: ir.Value) -> str:
    """The layer of the first node that reads a weight, or what reads it through Q/DQ."""
    for node in value.consumers():
        behind = [node]
        while behind and layer_of(behind[0]) is None and behind[0].op_type in QUANTIZING:
            behind = list(behind[0].outputs[0].consumers())
        if behind:
            return label_of(behind[0])
    return str(value.name)
