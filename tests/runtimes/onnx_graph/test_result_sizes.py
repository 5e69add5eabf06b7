from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from runtimes.onnx_graph.evaluate import evaluate
from runtimes.onnx_graph.result_sizes import result_elements

A = np.zeros((3, 4), np.float32)
EXACT = {
    "ConstantOfShape": [np.array([30, 40])],
    "Expand": [A, np.array([5, 1, 4])],
    "Tile": [A, np.array([2, 3])],
    "Range": [np.array(0), np.array(10), np.array(3)],
    "Gather": [A, np.array([0, 1, 1, 0])],
    "Add": [A[:, :1], A[:1, :]],
    "Concat": [A, A],
    "Shape": [A],
    "Transpose": [A],
}


@pytest.mark.parametrize("op", EXACT)
def test_the_size_is_known_before_the_result(op):
    arrays = EXACT[op]
    values = [
        ir.val(f"v{i}", ir.DataType.from_numpy(a.dtype), a.shape) for i, a in enumerate(arrays)
    ]
    node = ir.node(op, values, {"axis": 0} if op == "Concat" else {})
    node.outputs[0].name = "y"
    assert result_elements(node, arrays) == evaluate(node, arrays, 18)[0].size


def test_a_bomb_is_weighed_and_not_built():
    shape = np.array([1 << 20, 1 << 20])
    node = ir.node("ConstantOfShape", [ir.val("s", ir.DataType.INT64, [2])])
    assert result_elements(node, [shape]) == 1 << 40


def test_without_a_rule_the_inferred_shape_counts():
    node = ir.node("Resize", [ir.val("x", ir.DataType.FLOAT, [1, 1, 2, 2])])
    assert result_elements(node, [A]) is None
    node.outputs[0].shape = ir.Shape([1, 1, 4, 4])
    assert result_elements(node, [A]) == 16


def test_an_endless_range_has_no_size():
    numbers = [np.array(0), np.array(10), np.array(0)]
    node = ir.node("Range", [ir.val(name, ir.DataType.INT64, []) for name in "abc"])
    assert result_elements(node, numbers) is None
