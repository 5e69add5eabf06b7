"""What ONNX Runtime really runs in INT8."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import ShapeInferencePass
from ort_versions import needs_ort

from quantizers import QuantizeOptions, quantize_model
from quantizers.policy.plan import make_plan
from quantizers.qdq.fusion import examine_fusion
from runtimes import Dataset
from runtimes.base import Array

Graph = Callable[..., ir.Model]
Bound = Callable[..., Dataset]


def test_a_placed_graph_is_fused_from_end_to_end(
    residual_model: ir.Model, images: Array, bound: Bound
) -> None:
    _, report = quantize_model(residual_model, bound(residual_model, image=images))
    assert report.optimized_operators == {
        **{"QuantizeLinear": 1, "QLinearConv": 3, "QLinearAdd": 1},
        **{"QLinearGlobalAveragePool": 1, "Flatten": 1, "QGemm": 1},
    }
    assert all(operator.fused for operator in report.operators)


def test_every_kind_of_operator_fuses(graph: Graph, images: Array, bound: Bound) -> None:
    rng = np.random.default_rng(0)
    model = graph(
        """g (float[n, 3, 12, 12] x, float[4, 3, 1, 1] a, float[4, 4, 1, 1] w)
        => (float[n, 4, 7, 7] y)
        <float[4] twice = {1, 1, 2, 2}, int64[8] pads = {0, 0, 1, 1, 0, 0, 1, 1},
         int64[4] starts = {0, 0, 0, 0}, int64[4] ends = {9999, 4, 12, 12},
         int64[4] shape = {0, 4, 12, 12}>
        { a0 = Conv (x, a)
          a1 = LeakyRelu (a0)
          a2 = Sigmoid (a1)
          a3 = Mul (a1, a2)
          a4 = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a3)
          a5 = Resize <mode = "nearest", nearest_mode = "floor",
                       coordinate_transformation_mode = "asymmetric"> (a4, , twice)
          a6 = Concat <axis = 1> (a0, a5)
          a7 = Transpose <perm = [0, 1, 3, 2]> (a6)
          a8 = Slice (a7, starts, ends)
          a9 = Reshape (a8, shape)
          b0 = Conv (a9, w)
          b1 = Add (a0, b0)
          b2 = Pad (b1, pads)
          b3 = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (b2)
          y = Conv (b3, w) }""",
        {
            "a": rng.normal(size=(4, 3, 1, 1)).astype(np.float32),
            "w": rng.normal(size=(4, 4, 1, 1)).astype(np.float32),
        },
    )
    _, report = quantize_model(model, bound(model, x=images))
    told = {operator.op_type: operator.precision for operator in report.operators}
    assert set(told.values()) == {"int8"}
    assert report.optimized_operators["QuantizeLinear"] == 1
    assert report.optimized_operators["DequantizeLinear"] == 1


@pytest.mark.parametrize(
    "moved",
    [
        "Flatten (c)",
        "Squeeze (c, one)",
        "Unsqueeze (c, one)",
        "Gather <axis = 1> (c, one)",
        "Expand (c, shape)",
        "Tile (c, repeats)",
        pytest.param(
            "DepthToSpace <blocksize = 2> (c)",
            marks=needs_ort("1.21", "DepthToSpace has no kernel for codes"),
        ),
        "Transpose <perm = [0, 2, 3, 1]> (c)",
        "MaxPool <kernel_shape = [2, 2]> (c)",
    ],
)
def test_every_movement_moves_codes(
    graph: Graph, images: Array, bound: Bound, run: Callable[..., Array], moved: str
) -> None:
    channels = 1 if "Squeeze (" in moved else 4
    weight = np.random.default_rng(0).normal(size=(channels, 3, 1, 1)).astype(np.float32)
    model = graph(
        f"""g (float[n, 3, 12, 12] x, float[{channels}, 3, 1, 1] w) => (float y)
        <int64[1] one = {{1}}, int64[4] shape = {{1, 4, 1, 12}}, int64[4] repeats = {{1, 2, 1, 1}}>
        {{ c = Conv (x, w)
           [moved] y = {moved} }}""",
        {"w": weight},
    )
    model.graph.outputs[0].shape = None
    result, report = quantize_model(model, bound(model, x=images))
    assert [operator.precision for operator in report.operators] == ["int8", "int8"]
    assert report.optimized_operators["QuantizeLinear"] == 1
    np.testing.assert_allclose(run(result, x=images), run(model, x=images), atol=0.1)


def test_a_float_graph_is_not_taken_for_a_fused_one(residual_model: ir.Model) -> None:
    model = ShapeInferencePass()(residual_model).model
    found = examine_fusion(model, make_plan(model.graph))
    assert set(found.unfused) == {"first", "depthwise", "project", "residual", "pool", "dense"}
    assert "Conv in float" in found.unfused["first"]


def test_an_activation_between_a_conv_and_its_rounding_is_noticed(
    residual_model: ir.Model, images: Array, bound: Bound
) -> None:
    result, _ = quantize_model(residual_model, bound(residual_model, image=images))
    plan = make_plan(ShapeInferencePass()(residual_model).model.graph)
    conv = next(node for node in result.graph if node.name == "first")
    rounding = next(iter(conv.outputs[0].uses())).node
    between = ir.node("LeakyRelu", [conv.outputs[0]], name="between")
    between.outputs[0].name = "between"
    rounding.replace_input_with(0, between.outputs[0])
    result.graph.insert_after(conv, between)
    assert list(examine_fusion(result, plan).unfused) == ["first"]


def test_what_does_not_fuse_goes_back_to_float(
    residual_model: ir.Model, images: Array, bound: Bound, monkeypatch
) -> None:
    from quantizers.mixed_precision import candidate as build

    rounds = []

    def doubting(model: ir.Model, plan):
        found = examine_fusion(model, plan)
        rounds.append([unit.name for unit in plan.units])
        if len(rounds) == 1:
            return type(found)({"project": "as a test wants it"}, found.operators)
        return found

    monkeypatch.setattr(build, "examine_fusion", doubting)
    result, report = quantize_model(
        residual_model,
        bound(residual_model, image=images),
        options=QuantizeOptions(bias_correction=False),
    )
    assert "project" in rounds[0]
    assert "project" not in rounds[1]
    told = {operator.name: operator for operator in report.operators}
    assert told["project"].precision == told["residual"].precision == "float32"
    assert told["project"].reason == "as a test wants it"
    conv = next(node for node in result.graph if node.name == "project")
    assert conv.inputs[1].const_value.dtype == ir.DataType.FLOAT
    # Its input stays rounded: the operator before it is in INT8 still.
    assert conv.inputs[0].producer().op_type == "DequantizeLinear"


def test_a_dense_layer_on_sequences_becomes_one_kernel(graph: Graph, bound: Bound) -> None:
    """Without a quantized bias ONNX Runtime makes a float Gemm of MatMul and Add."""
    rng = np.random.default_rng(0)
    model = graph(
        """g (float[n, 7, 8] x, float[8, 8] a, float[8] b) => (float[n, 7, 8] y)
        { p = MatMul (x, a)
          y = Add (p, b) }""",
        {
            "a": rng.normal(size=(8, 8)).astype(np.float32),
            "b": rng.normal(size=8).astype(np.float32),
        },
    )
    x = rng.normal(size=(64, 7, 8)).astype(np.float32)
    _, report = quantize_model(model, bound(model, x=x))
    assert report.kept
    assert not {"Gemm", "MatMul"} & set(report.optimized_operators)


def test_a_matmul_of_stacked_matrices_has_one_scale(
    graph: Graph, bound: Bound, run: Callable[..., Array], sqnr: Callable[..., float]
) -> None:
    rng = np.random.default_rng(0)
    model = graph(
        "g (float[n, 3, 5, 8] x, float[3, 8, 4] a) => (float[n, 3, 5, 4] y) { y = MatMul (x, a) }",
        {"a": rng.normal(size=(3, 8, 4)).astype(np.float32)},
    )
    x = rng.normal(size=(64, 3, 5, 8)).astype(np.float32)
    result, report = quantize_model(model, bound(model, x=x))
    assert report.kept
    assert sqnr(run(model, x=x), run(result, x=x)) > 30
