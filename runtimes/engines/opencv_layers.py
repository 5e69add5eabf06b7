"""What OpenCV made of a model: its layers, and the element type that each computes in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from runtimes.engines.placement import LayerPrecision

# One layer of the new engine's dump: its type, its name and the element type of its first output,
# which is there once the net has run.
_LAYER = re.compile(
    r"// op #\d+\s+(?P<type>\w+) \{\s+name: \"(?P<name>[^\"]*)\""
    r".*?outputs: \[\s+\"[^\"]*\" // <\w+> CV_(?P<bits>\d+)(?P<kind>[A-Z]+)C1",
    re.DOTALL,
)

_TYPES = {"8U": "u8", "8S": "i8", "16F": "f16", "16BF": "bf16", "32F": "f32", "64F": "f64"}

# What only moves or relabels values.
_MOVES = {
    "Concat", "Const", "Expand", "Flatten", "Gather", "Identity", "NetInputLayer", "Permute",
    "Reshape", "Shape", "Slice", "Split", "Squeeze", "Tile", "TransformLayout", "Transpose",
    "Unsqueeze", "__NetInputLayer__",
}  # fmt: skip

_QUANTIZED = re.compile(r"Int8$|^(Req|Q)uantize$")


def layers_of(net: Any, *, classic: bool) -> list[LayerPrecision]:
    """The layers that compute something."""
    found = _classic_layers(net) if classic else _new_layers(net)
    return [layer for layer in found if layer.op_type not in _MOVES]


def _classic_layers(net: Any) -> Iterator[LayerPrecision]:
    """The classic engine tells no element types: it computes in float32 but for its INT8 layers."""
    for name in net.getLayerNames():
        kind = str(net.getLayer(net.getLayerId(name)).type)
        node = re.sub(r"^onnx_node(_output_\d+)?!", "", name)
        yield LayerPrecision(node, kind, "i8" if _QUANTIZED.search(kind) else "f32")


def _new_layers(net: Any) -> Iterator[LayerPrecision]:
    for found in _LAYER.finditer(net.dump()):
        bits = found["bits"] + found["kind"]
        precision = _TYPES.get(bits, f"{'u' if bits.endswith('U') else 'i'}{found['bits']}")
        yield LayerPrecision(found["name"], found["type"], precision)
