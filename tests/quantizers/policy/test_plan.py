"""Which operators are planned to run in INT8, and what the others are told."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import ShapeInferencePass

from quantizers.policy.plan import Plan, make_plan

Graph = Callable[..., ir.Model]

W = np.ones((4, 4, 1, 1), np.float32)
M = np.ones((4, 4), np.float32)
B = np.ones(4, np.float32)


def plan(model: ir.Model, keep_float: frozenset[str] = frozenset()) -> Plan:
    return make_plan(ShapeInferencePass()(model).model.graph, keep_float)


def names(found: Plan) -> list[str]:
    return [unit.name for unit in found.units]


def test_every_operator_of_a_residual_network_is_int8(residual_model: ir.Model) -> None:
    found = plan(residual_model)
    assert names(found) == [
        *("first", "depthwise", "project", "residual", "pool", "flatten", "dense"),
    ]
    absorbed = {unit.name: [node.name for node in unit.absorbed] for unit in found.units}
    assert absorbed["first"] == ["first_relu"]
    assert absorbed["depthwise"] == ["depthwise_relu6"]
    assert found.units[1].ceiling == 6.0
    assert not found.float_reasons
    dense = found.units[-1]
    assert not found.rounds(dense.output)  # the tail stays float


def test_an_activation_with_company_is_not_absorbed(graph: Graph) -> None:
    model = graph(
        """g (float[n, 4, 8, 8] x, float[4, 4, 1, 1] w) => (float[n, 4, 8, 8] y)
        { [conv] c = Conv (x, w)
          [relu] r = Relu (c)
          [add] y = Add (r, c) }""",
        {"w": W},
    )
    found = plan(model)
    assert names(found) == ["conv"]
    assert found.units[0].output.name == "c"
    assert "absorb" in found.float_reasons["relu"]


@pytest.mark.parametrize("body", ["MatMul (c, w)", "Gemm (c, w)"])
def test_products_of_constants_stay_float(graph: Graph, body: str) -> None:
    model = graph(
        f"""g (float[4, 4] x, float[4, 4] w, float[4, 4] c) => (float[4, 4] y)
        {{ [one] a = MatMul (x, w) [two] b = {body} y = Add (a, b) }}""",
        {"w": M, "c": M},
    )
    found = plan(model)
    assert names(found) == ["one"]
    assert found.float_reasons["two"] == "it reads a constant, not what comes from the samples"


def test_a_weight_with_several_readers_is_one_group(graph: Graph) -> None:
    model = graph(
        """g (float[n, 4] x, float[4, 4] w) => (float[n, 4] y)
        { [one] a = MatMul (x, w) [two] b = Gemm (a, w) [three] y = Gemm <transB = 1> (b, w) }""",
        {"w": M},
    )
    groups = [[unit.name for unit in units] for units in plan(model).weight_groups()]
    assert groups == [["one", "two"], ["three"]]  # scales run along another axis there


@pytest.mark.parametrize(
    ("row", "absorbed"),
    [("float[4] b", True), ("float[1, 4] b", True), ("float[1, 1, 4] b", False)],
)
def test_what_a_product_adds_to_its_rows_is_its_bias(graph: Graph, row: str, absorbed) -> None:
    shape = tuple(int(size) for size in row[6:-3].split(","))
    result = "1, n, 4" if len(shape) == 3 else "n, 4"
    model = graph(
        f"""g (float[n, 4] x, float[4, 4] w, {row}) => (float[{result}] y)
        {{ [product] p = MatMul (x, w) [add] y = Add (p, b) }}""",
        {"w": M, "b": np.ones(shape, np.float32)},
    )
    (unit,) = plan(model).units
    assert [node.name for node in unit.absorbed] == (["add"] if absorbed else [])
    if absorbed:
        assert unit.bias_array().shape == (4,)


@pytest.mark.parametrize(
    ("activation", "absorbed"),
    [
        ("Relu (c)", True),
        ("Clip (c, zero, six)", True),
        ("Clip (c, zero)", True),
        ("Clip (c, minus, six)", False),
        ("Clip (c, , six)", False),
        ("LeakyRelu (c)", False),
        ("Sigmoid (c)", False),
    ],
)
def test_only_what_the_edge_of_a_grid_can_do_is_absorbed(
    graph: Graph, activation: str, absorbed: bool
) -> None:
    model = graph(
        f"""g (float[n, 4, 8, 8] x, float[4, 4, 1, 1] w) => (float[n, 4, 8, 8] y)
        <float zero = {{0}}, float six = {{6}}, float minus = {{-1}}>
        {{ [conv] c = Conv (x, w)
           [activation] y = {activation} }}""",
        {"w": W},
    )
    found = plan(model)
    assert names(found) == ["conv"]
    assert bool(found.units[0].absorbed) is absorbed
    assert ("activation" in found.float_reasons) is not absorbed


def test_a_swish_between_convolutions_is_int8_and_one_at_the_tail_float(graph: Graph) -> None:
    model = graph(
        """g (float[n, 4, 8, 8] x, float[4, 4, 1, 1] w) => (float[n, 4, 8, 8] y)
        { [conv] a = Conv (x, w)
          [sigmoid] s = Sigmoid (a)
          [swish] m = Mul (a, s)
          [conv2] b = Conv (m, w)
          [sigmoid2] t = Sigmoid (b)
          [swish2] y = Mul (b, t) }""",
        {"w": W},
    )
    found = plan(model)
    assert names(found) == ["conv", "sigmoid", "swish", "conv2"]
    assert found.float_reasons["sigmoid2"] == "no INT8 operator reads its result"


def test_arithmetic_pays_only_between_int8_operators(graph: Graph) -> None:
    model = graph(
        """g (float[n, 4, 8, 8] x, float[4, 4, 1, 1] w) => (float[n, 4, 8, 8] y)
        { [conv] a = Conv (x, w)
          [mixed] m = Add (a, x)
          [conv2] b = Conv (m, w)
          [between] s = Add (a, b)
          [conv3] c = Conv (s, w)
          [tail] y = Add (s, c) }""",
        {"w": W},
    )
    found = plan(model)
    assert names(found) == ["conv", "conv2", "between", "conv3"]
    assert found.float_reasons["mixed"] == "its input 'x' is computed in float"
    assert found.float_reasons["tail"] == "no INT8 operator reads its result"


def test_a_constant_operand_keeps_arithmetic_in_float(graph: Graph) -> None:
    model = graph(
        """g (float[n, 4, 8, 8] x, float[4, 4, 1, 1] w, float[1] k) => (float[n, 4, 8, 8] y)
        { [conv] a = Conv (x, w)
          [scale] m = Mul (a, k)
          [conv2] y = Conv (m, w) }""",
        {"w": W, "k": np.float32([3])},
    )
    assert "constant" in plan(model).float_reasons["scale"]


def test_movement_joins_int8_on_either_side(graph: Graph) -> None:
    model = graph(
        """g (float[n, 8, 8, 4] x, float[4, 4, 1, 1] w) => (float[n, 4, 4, 4] y, float[n, 8] z)
        <int64[2] axes = {2, 3}>
        { [before] t = Transpose <perm = [0, 3, 1, 2]> (x)
          [conv] c = Conv (t, w)
          [behind] y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (c)
          [float_only] f = Transpose <perm = [0, 2, 1, 3]> (x)
          [mean] z = ReduceMean <keepdims = 0> (f, axes) }""",
        {"w": W},
    )
    found = plan(model)
    assert names(found) == ["before", "conv", "behind"]
    assert found.source(found.units[2].output).name == "c"
    assert found.source(found.units[1].data[0]).name == "x"
    assert found.float_reasons["float_only"] == "it moves float values"


def test_movement_that_float_operators_read_too_is_not_hoisted(graph: Graph) -> None:
    model = graph(
        """g (float[n, 8, 8, 4] x, float[4, 4, 1, 1] w)
        => (float[n, 4, 8, 8] y, float[n, 4, 8, 8] z)
        { [before] t = Transpose <perm = [0, 3, 1, 2]> (x)
          [conv] y = Conv (t, w)
          [other] z = Exp (t) }""",
        {"w": W},
    )
    assert names(plan(model)) == ["conv"]


def test_the_bias_of_a_matmul_is_found_behind_it(graph: Graph) -> None:
    model = graph(
        """g (float[n, 7, 4] x, float[4, 4] m, float[4] b) => (float[n, 7, 4] y)
        { [product] p = MatMul (x, m)
          [bias] s = Add (b, p)
          [relu] y = Relu (s) }""",
        {"m": M, "b": B},
    )
    (unit,) = plan(model).units
    assert [node.name for node in unit.absorbed] == ["bias", "relu"]
    assert unit.bias is not None
    assert (unit.bias.name, unit.sum.name, unit.output.name) == ("b", "s", "y")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("[node] y = MatMul (x, x)", "both operands are activations"),
        ("[node] y = Gemm <alpha = 0.5> (x, m, b)", "alpha is not 1"),
        ("[node] y = Gemm <beta = 2.0> (x, m, b)", "beta is not 1"),
        ("[node] y = Gemm (x, m, x)", "bias"),
        ("[node] y = Softmax (x)", "no INT8 kernel for Softmax"),
        ("[node] y = MatMul (x, b)", "not a matrix"),
    ],
)
def test_the_reason_for_float_is_given(graph: Graph, body: str, said: str) -> None:
    model = graph(
        f"g (float[4, 4] x, float[4, 4] m, float[4] b) => (float[4, 4] y) {{ {body} }}",
        {name: array for name, array in {"m": M, "b": B}.items() if f" {name}" in body},
    )
    assert said in plan(model).float_reasons["node"]


def test_other_types_and_domains_are_left_alone(graph: Graph) -> None:
    model = graph(
        """g (double[n, 4] x, int64[n] i) => (double[n, 4] y, int64[n] j)
        <double[4, 4] m = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}>
        { [wide] y = MatMul (x, m)
          [integer] j = Neg (i) }"""
    )
    found = plan(model)
    assert not found.units
    assert "no float32" in found.float_reasons["wide"]


def test_a_weight_that_a_caller_may_replace_is_no_constant(graph: Graph) -> None:
    model = graph(
        "g (float[n, 4] x, float[4, 4] m) => (float[n, 4] y) { [node] y = MatMul (x, m) }", {"m": M}
    )
    model.graph.inputs.append(model.graph.initializers["m"])
    assert not plan(model).units


def test_nodes_stay_in_float_on_request(residual_model: ir.Model) -> None:
    found = plan(residual_model, frozenset({"project"}))
    assert "project" not in names(found)
    assert found.float_reasons["project"] == "kept in float on request"
    # What leaned on it follows: the addition has a float input now.
    assert found.float_reasons["residual"] == "its input 'c3' is computed in float"
    assert found.float_reasons["pool"] == "its input 'sum' is computed in float"
    assert names(found) == ["first", "depthwise", "flatten", "dense"]
