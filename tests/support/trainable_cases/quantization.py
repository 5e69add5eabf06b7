"""Q/DQ and ONNX Runtime's LSTM of bytes, whose gradients go straight through the rounding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from trainable_cases.case import Case, floats, positive

X = floats(4, 6, 5)


def cases() -> list[Case]:
    """All of them; what their gradients are is tested elsewhere."""
    return [*_codes(), *_floats(), dynamic_lstm(), dynamic_lstm("bidirectional", by_row=True)]


def _codes() -> list[Case]:
    scale, zero = np.float32(0.02), np.uint8(120)
    return [
        _case("QuantizeLinear", X, scale, zero),
        _case("QuantizeLinear", X, scale),
        _case("QuantizeLinear", X, positive(6) / 50, np.arange(-3, 3, dtype=np.int8), axis=1),
        _case("QuantizeLinear", X, positive(5) / 50, np.zeros(5, np.int8), axis=-1, opset=13),
        _case("QuantizeLinear", X, np.float32(0.001), np.uint16(30000), opset=21),
        _case("QuantizeLinear", X, positive(4, 3, 5) / 50, None, axis=1, block_size=2, opset=21),
    ]


def _floats() -> list[Case]:
    codes = np.random.default_rng(1).integers(-128, 128, (4, 6, 5)).astype(np.int8)
    blocks = positive(4, 3, 5)
    return [
        _case("DequantizeLinear", codes.astype(np.uint8), np.float32(0.02), np.uint8(120)),
        _case("DequantizeLinear", codes, np.float32(0.02)),
        _case("DequantizeLinear", codes, positive(6), np.zeros(6, np.int8), axis=1),
        _case("DequantizeLinear", codes, positive(5), axis=-1, opset=13),
        _case("DequantizeLinear", codes.astype(np.int32), np.float32(0.001)),
        _case("DequantizeLinear", codes, blocks, axis=1, block_size=2, opset=21),
        _case("DequantizeLinear", codes, floats(4, 2, 5), axis=1, block_size=4, opset=21),
    ]


def _case(kind: str, *arrays: Any, opset: int = 19, **attributes: Any) -> Case:
    read = tuple(None if array is None else np.asarray(array) for array in arrays)
    while read[-1] is None:
        read = read[:-1]
    constants = frozenset(range(1, len(read)))
    return Case(kind, read, attributes, opset, constant=constants, differentiable=False)


def dynamic_lstm(direction: str = "forward", *, by_row: bool = False) -> Case:
    """One row of inputs: each thread of ONNX Runtime may put its rows on a grid of their own."""
    directions, inputs, size = (2 if direction == "bidirectional" else 1), 5, 6
    rng = np.random.default_rng(3)
    shape = (directions, 4 * size) if by_row else (directions,)
    # Codes so small that no sum of two products saturates on CPUs that add them in 16 bits.
    codes = [
        rng.integers(-63, 64, (directions, rows, 4 * size)).astype(np.int8)
        for rows in (inputs, size)
    ]
    scales = [rng.uniform(0.006, 0.012, shape).astype(np.float32) for _ in codes]
    zeros = [np.zeros(shape, np.int8) for _ in codes]
    arrays = (
        *(floats(4, 1, inputs), *codes, 0.5 * floats(directions, 8 * size), None, None, None, None),
        *(scales[0], zeros[0], scales[1], zeros[1]),
    )
    made = Case("DynamicQuantizeLSTM", arrays, {"hidden_size": size, "direction": direction})
    constant = frozenset(range(1, len(arrays)))
    made = replace(made, domain="com.microsoft", constant=constant, outputs=3, orders=False)
    # A state that is near the middle of two codes may take either: one code is 1/255 of it.
    return replace(made, differentiable=False, tolerance=1e-2)
