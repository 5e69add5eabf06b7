"""Multiply-adds by the definition of each operator."""

from __future__ import annotations

from typing import Any

import pytest

from runtimes.onnx_graph.flops import operations, uses_of_weight, weight_inputs

# (operator, inputs, output, multiply-adds, which weight counts, columns of a product)
CASES: list[tuple[Any, ...]] = [
    ("Conv", [(2, 4, 9, 9), (6, 2, 3, 3)], (2, 6, 7, 7), 2 * 6 * 49 * 2 * 9, 1, None),
    ("ConvTranspose", [(2, 4, 5, 5), (4, 3, 3, 3)], (2, 3, 7, 7), 2 * 4 * 25 * 3 * 9, 1, None),
    ("MatMul", [(5, 6), (6, 7)], (5, 7), 5 * 6 * 7, 1, 7),
    ("MatMul", [(3, 5, 6), (6, 7)], (3, 5, 7), 3 * 5 * 6 * 7, 1, 7),
    ("MatMul", [(3, 5, 6), (3, 6, 7)], (3, 5, 7), 3 * 5 * 6 * 7, 1, 7),
    ("MatMul", [(5, 6), (3, 6, 7)], (3, 5, 7), 3 * 5 * 6 * 7, 0, 5),
    ("MatMul", [(8, 6), (3, 6, 7)], (3, 8, 7), 3 * 8 * 6 * 7, 0, 8),
    ("Gemm", [(5, 6), (7, 6)], (5, 7), 5 * 6 * 7, 1, 7),
    ("Gemm", [(6, 5), (6, 7)], (5, 7), 5 * 6 * 7, 1, 7),
]


@pytest.mark.parametrize(("op_type", "inputs", "output", "count", "weight", "columns"), CASES)
def test_an_operator_counts_alike_from_shapes_and_from_its_weight(
    op_type: str, inputs: Any, output: Any, count: int, weight: int, columns: int | None
) -> None:
    def size(shape: Any) -> int:
        return shape[0] * size(shape[1:]) if shape else 1

    assert weight in weight_inputs(op_type)
    assert operations(op_type, inputs, [output]) == 2 * count
    uses = uses_of_weight(op_type, inputs[weight], size(inputs[0]), size(output), columns)
    assert uses * size(inputs[weight]) == count


@pytest.mark.parametrize("inputs", [[], [(6, 5)], [(1, 4, 5, 5)]])
@pytest.mark.parametrize("op_type", ["Conv", "ConvTranspose", "MatMul", "Gemm", "LSTM", "GRU"])
def test_shapes_that_are_not_told_are_no_error(op_type: str, inputs: Any) -> None:
    assert operations(op_type, inputs, []) == 0
    assert operations(op_type, inputs, [(1, 5)]) >= 0


def test_a_vector_has_no_rows() -> None:
    assert operations("MatMul", [(6,), (6, 7)], [(7,)]) == 2 * 6 * 7
    assert operations("MatMul", [(3, 5, 6), (6,)], [(3, 5)]) == 2 * 3 * 5 * 6
    assert operations("MatMul", [(6,), (6,)], [()]) == 2 * 6
