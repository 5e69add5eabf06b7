"""The facts of the table against ONNX's own definitions, and against what ONNX Runtime computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx.defs
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import ShapeInferencePass

from quantizers.policy.operators.table import OPERATORS, operator_of
from quantizers.policy.plan import make_plan
from runtimes.base import Array

Graph = Callable[..., ir.Model]
Run = Callable[..., Array]


@pytest.mark.parametrize("name", OPERATORS)
def test_onnx_has_the_operator_and_its_inputs(name: str) -> None:
    schema, operator = onnx.defs.get_schema(name, 22), OPERATORS[name]
    assert operator.op_type == name
    indices = [*(operator.data or ()), operator.weight, operator.bias]
    assert all(index < len(schema.inputs) for index in indices if index is not None)
    if operator.data is None:  # then any number of activations, or exactly two
        assert schema.max_input >= 2
    assert (operator.kind == "compute") == (operator.weight is not None)


def test_custom_domains_are_not_in_the_table(graph: Graph) -> None:
    node = ir.Node("some.where", "Conv", [])
    assert operator_of(node) is None
    assert operator_of(None) is None


MATRICES = {
    "Conv": (
        "Conv <pads = [1, 0, 2, 1], strides = [2, 1], dilations = [1, 2]> (x, w)",
        (6, 4, 3, 2),
    ),
    "Conv in groups": ("Conv <group = 2> (x, w)", (6, 2, 3, 3)),
    "Conv without padding": ('Conv <auto_pad = "VALID"> (x, w)', (6, 4, 2, 2)),
    "Gemm": ("Gemm (x, w)", (7, 5)),
    "Gemm transposed": ("Gemm <transB = 1> (x, w)", (5, 7)),
    "MatMul": ("MatMul (x, w)", (7, 5)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_the_matrix_form_gives_what_the_operator_gives(graph: Graph, run: Run, name: str) -> None:
    body, shape = MATRICES[name]
    rng = np.random.default_rng(0)
    weight = rng.normal(size=shape).astype(np.float32)
    x = rng.normal(size=(3, 4, 9, 8) if len(shape) == 4 else (3, 7)).astype(np.float32)
    sizes = ", ".join(map(str, shape))
    inputs = "n, 4, 9, 8" if len(shape) == 4 else "n, 7"
    outputs = "n, 6, a, b" if len(shape) == 4 else "n, 5"
    model = graph(
        f"g (float[{inputs}] x, float[{sizes}] w) => (float[{outputs}] y) {{ y = {body} }}",
        {"w": weight},
    )
    (unit,) = make_plan(ShapeInferencePass()(model).model.graph).units
    operator, node = unit.operator, unit.node
    groups, axis = operator.groups(node), unit.weight_axis
    rows = operator.kernel_rows(node, weight, x, lambda total: 1)
    assert rows.shape[::2] == (groups, operator.kernel_inputs(node, weight))
    matrix = (weight if axis == 0 else weight.T).reshape(groups, -1, rows.shape[2])
    found = np.einsum("gpi,goi->pgo", rows, matrix).reshape(rows.shape[1], -1)
    expected = np.moveaxis(run(model, x=x), operator.channel_axis, -1)
    np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=1e-4, atol=1e-4)
    half = operator.kernel_rows(node, weight, x, lambda total: 2)
    np.testing.assert_array_equal(half, rows[:, ::2])
    ordered = operator.kernel_order(node, weight)
    assert ordered is not None
    assert ordered.shape == (matrix.shape[0] * matrix.shape[1], rows.shape[2])


@pytest.mark.parametrize(
    ("attributes", "pads"),
    [
        ("", False),
        ("<pads = [0, 0, 0, 0]>", False),
        ("<pads = [0, 0, 1, 0]>", True),
        ('<auto_pad = "VALID">', False),
        ('<auto_pad = "SAME_UPPER">', True),
    ],
)
def test_padding_shows_zeros_to_a_kernel(graph: Graph, attributes: str, pads: bool) -> None:
    model = graph(
        f"""g (float[n, 4, 8, 8] x, float[4, 4, 3, 3] w) => (float[n, 4, a, b] y)
        {{ y = Conv {attributes} (x, w) }}""",
        {"w": np.ones((4, 4, 3, 3), np.float32)},
    )
    assert OPERATORS["Conv"].pads_with_zeros(model.graph.node(0)) is pads


def test_what_has_no_matrix_form_says_so(graph: Graph) -> None:
    stacked, one = np.ones((2, 3, 4), np.float32), np.ones((3, 4), np.float32)
    node = ir.node("MatMul", [ir.val("x"), ir.val("w")])
    assert OPERATORS["MatMul"].kernel_inputs(node, stacked) is None
    moved = ir.node("Gemm", [ir.val("x"), ir.val("w")], {"transA": 1})
    assert OPERATORS["Gemm"].kernel_inputs(moved, one) is None
    with pytest.raises(NotImplementedError, match="Add has no matrix form"):
        OPERATORS["Add"].kernel_rows(node, one, one, lambda total: 1)
