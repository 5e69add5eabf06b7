"""How much a node computes and moves, from the shapes of what it reads and writes."""

from __future__ import annotations

import math
from collections.abc import Sequence

Shape = Sequence[int]

# Where the weights stand among the inputs, and the operators that multiply and add with them.
_CONVOLUTIONS = {"Conv": 1, "FusedConv": 1, "NhwcFusedConv": 1, "QLinearConv": 3, "ConvInteger": 1}
_PRODUCTS = {
    "MatMul": 1, "Gemm": 1, "FusedMatMul": 1, "FusedGemm": 1, "MatMulInteger": 1,
    "QLinearMatMul": 3, "QGemm": 3, "DynamicQuantizeMatMul": 1, "MatMulIntegerToFloat": 1,
    "MatMulNBits": 1,
}  # fmt: skip
_RECURRENT = {"LSTM": 4, "GRU": 3, "RNN": 1, "DynamicQuantizeLSTM": 4}
_MOVING = {
    "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Concat", "Slice", "Split", "Pad",
    "Gather", "ReorderInput", "ReorderOutput", "Identity", "Expand", "Tile", "Cast",
}  # fmt: skip

_ELEMENT_BYTES = {
    "float": 4, "double": 8, "float16": 2, "bfloat16": 2, "int8": 1, "uint8": 1, "bool": 1,
    "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "uint64": 8,
}  # fmt: skip


def operations(op_type: str, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> float:
    """Floating or integer operations of one run; a multiply-add counts two.

    Exact for convolutions, products and recurrent layers, one for each element of the output
    elsewhere, none where values are only moved.
    """
    made = math.prod(outputs[0]) if outputs else 0
    if op_type in _CONVOLUTIONS:
        weights = inputs[_CONVOLUTIONS[op_type]]
        return 2.0 * made * math.prod(weights[1:])
    if op_type == "ConvTranspose":
        return 2.0 * math.prod(inputs[0]) * math.prod(inputs[1][1:])
    if op_type in _PRODUCTS:
        return 2.0 * made * _inner(op_type, inputs, outputs[0])
    if op_type in _RECURRENT:
        time, batch, width = inputs[0]
        hidden, rows = outputs[0][-1], _RECURRENT[op_type]
        ways = outputs[0][-3]  # of Y [time, ways, batch, hidden] or, without it, of the last state
        if len(outputs[0]) == 4:
            ways = outputs[0][1]
        return 2.0 * time * batch * ways * rows * hidden * (width + hidden)
    if op_type in _MOVING:
        return 0.0
    return float(made)


def moved_bytes(inputs: Sequence[tuple[str, Shape]], outputs: Sequence[tuple[str, Shape]]) -> float:
    """Bytes read and written by one run, weights included, each once: (element type, shape)."""
    return float(
        sum(_ELEMENT_BYTES.get(kind, 4) * math.prod(shape) for kind, shape in (*inputs, *outputs))
    )


def multiplies(op_type: str) -> bool:
    """Whether the operator is one whose time is in multiplying: what INT8 is for."""
    return op_type in {*_CONVOLUTIONS, *_PRODUCTS, *_RECURRENT, "ConvTranspose"}


def _inner(op_type: str, inputs: Sequence[Shape], output: Shape) -> int:
    """The length of the sums of a product: what the first input has and the output lacks."""
    first = inputs[0]
    rows = math.prod(output[:-1]) if len(output) > 1 else 1
    return max(1, math.prod(first) // max(rows, 1)) if first else 1
