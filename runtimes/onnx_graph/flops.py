"""How much a node computes and moves, from the shapes of its inputs and outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence

Shape = Sequence[int]

# Operators that multiply by weights, with the position of the weights among the inputs.
_CONVOLUTIONS = {"Conv": 1, "FusedConv": 1, "NhwcFusedConv": 1, "QLinearConv": 3, "ConvInteger": 1}
_PRODUCTS = {
    "MatMul": 1, "Gemm": 1, "FusedMatMul": 1, "FusedGemm": 1, "MatMulInteger": 1,
    "QLinearMatMul": 3, "QGemm": 3, "DynamicQuantizeMatMul": 1, "MatMulIntegerToFloat": 1,
    "MatMulNBits": 1,
}  # fmt: skip
# With the number of gates: each unit has one row of weights per gate.
_RECURRENT = {"LSTM": 4, "GRU": 3, "RNN": 1, "DynamicQuantizeLSTM": 4}
_MOVING = {
    "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Concat", "Slice", "Split", "Pad",
    "Gather", "ReorderInput", "ReorderOutput", "Identity", "Expand", "Tile", "Cast",
}  # fmt: skip

_ELEMENT_BYTES = {
    "float": 4, "double": 8, "float16": 2, "bfloat16": 2, "int8": 1, "uint8": 1, "bool": 1,
    "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "uint64": 8,
}  # fmt: skip


def uses_of_weight(
    op_type: str, weight: Shape, read: float, made: float, outputs: int | None = None
) -> float:
    """How often one run multiplies by each element of a weight of shape ``weight``.

    ``read`` and ``made`` are the element counts of the node's first input and first output. The
    result times the number of weight elements is the number of multiply-adds per run. ``outputs``:
    for a matrix product, the number of output columns.
    """
    if op_type in _CONVOLUTIONS:
        return made / max(1, weight[0])
    if op_type == "ConvTranspose":
        return read / max(1, weight[0])
    if op_type in _RECURRENT:  # weight[directions, gates·units, inputs]
        return read / max(1, weight[2])
    if op_type in _PRODUCTS and outputs is not None:
        return made / max(1, outputs * math.prod(weight[:-2]))
    return 0.0


def operations(op_type: str, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> float:
    """Floating-point or integer operations of one run; a multiply-add counts as two.

    Exact for convolutions, products and recurrent layers. Other operators count one per output
    element, and zero if they only move values or the shapes are not known.
    """
    made = math.prod(outputs[0]) if outputs else 0
    read = math.prod(inputs[0]) if inputs else 0
    if op_type in _CONVOLUTIONS or op_type == "ConvTranspose":
        index = _CONVOLUTIONS.get(op_type, 1)
        weight = inputs[index] if index < len(inputs) else ()
        if not weight:
            return 0.0
        return 2.0 * uses_of_weight(op_type, weight, read, made) * math.prod(weight)
    if op_type in _PRODUCTS:
        return 2.0 * made * _inner(op_type, inputs, outputs)
    if op_type in _RECURRENT:
        return 2.0 * _recurrent(_RECURRENT[op_type], inputs, outputs)
    if op_type in _MOVING:
        return 0.0
    return float(made)


def weight_inputs(op_type: str) -> tuple[int, ...]:
    """Which inputs of an operator may be weights that it multiplies by."""
    if op_type in _PRODUCTS:
        return (0, _PRODUCTS[op_type])
    if op_type in _RECURRENT:
        return (1, 2)
    return (_CONVOLUTIONS.get(op_type, 1),) if multiplies(op_type) else ()


def moved_bytes(inputs: Sequence[tuple[str, Shape]], outputs: Sequence[tuple[str, Shape]]) -> float:
    """Bytes read and written by one run, weights included; tensors are (element type, shape)."""
    return float(
        sum(_ELEMENT_BYTES.get(kind, 4) * math.prod(shape) for kind, shape in (*inputs, *outputs))
    )


def multiplies(op_type: str) -> bool:
    """Whether the operator spends its time on multiplications, and so can gain from INT8."""
    return op_type in {*_CONVOLUTIONS, *_PRODUCTS, *_RECURRENT, "ConvTranspose"}


def _recurrent(gates: int, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> float:
    """Multiply-adds of a recurrent layer: two matrices at each step of each sample."""
    if not inputs or not outputs or len(inputs[0]) != 3 or len(outputs[0]) < 3:
        return 0.0
    width, hidden = inputs[0][-1], outputs[0][-1]
    # From Y [time, directions, batch, hidden] or, without it, from the last state.
    directions = outputs[0][1] if len(outputs[0]) == 4 else outputs[0][-3]
    rows = math.prod(inputs[0][:-1])
    return float(rows * directions * gates * hidden * (width + hidden))


def _inner(op_type: str, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """The inner dimension of a product: the elements of a matrix of the first input per row."""
    if not inputs or not outputs:
        return 0
    first, output, second = inputs[0], outputs[0], _PRODUCTS[op_type]
    is_by_vector = second < len(inputs) and len(inputs[second]) == 1
    rows = 1
    if len(first) > 1 and output:
        rows = output[-1] if is_by_vector or len(output) == 1 else output[-2]
    return max(1, math.prod(first[-2:]) // max(rows, 1))
