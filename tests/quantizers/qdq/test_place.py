"""The Q/DQ graph: what stands where, under which name, and that it computes the same."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import CheckerPass, NameFixPass, ShapeInferencePass
from ort_versions import needs_ort

from quantizers.calibration.statistics import observe
from quantizers.options import QuantizeOptions
from quantizers.policy.plan import make_plan
from quantizers.qdq.grids import assign_grids
from quantizers.qdq.place import insert_qdq
from quantizers.weights.codes import quantize_weights
from runtimes import Dataset

Graph = Callable[..., ir.Model]
Run = Callable[..., np.ndarray]
Bound = Callable[..., Dataset]
Sqnr = Callable[[np.ndarray, np.ndarray], float]


def placed(model: ir.Model, data: Dataset) -> ir.Model:
    """``model`` in Q/DQ form, with weights whose products fit into 16 bits.

    Without that guard INT8 kernels saturate on CPUs without VNNI, and the same graph would give
    other numbers on every machine.
    """
    source = NameFixPass()(ShapeInferencePass()(model.clone()).model).model
    result = source.clone()
    plan = make_plan(result.graph)
    options = QuantizeOptions(rounding="nearest", target_cpu="any")
    statistics = observe(source, make_plan(source.graph), data, options)
    ranges = {name: statistics.range(name) for name in statistics.observers}
    grids = assign_grids(plan, ranges)
    codes = quantize_weights(plan, grids, statistics, {}, options)
    insert_qdq(result.graph, plan, grids, weights=codes.weights)
    CheckerPass(full_check=True)(result)
    return result


def operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def node(model: ir.Model, name: str) -> ir.Node:
    return next(node for node in model.graph if node.name == name)


def test_the_form_is_uint8_activations_int8_weights_int32_biases(
    residual_model: ir.Model, images: np.ndarray, bound: Bound, run: Run, sqnr: Sqnr
) -> None:
    result = placed(residual_model, bound(residual_model, image=images))
    conv = node(result, "depthwise")
    (data, weight, bias) = (value.producer() for value in conv.inputs if value is not None)
    assert {data.op_type, weight.op_type, bias.op_type} == {"DequantizeLinear"}
    assert data.inputs[2].const_value.dtype == ir.DataType.UINT8
    assert data.inputs[1].const_value.shape == ()
    assert weight.inputs[0].const_value.dtype == ir.DataType.INT8
    assert weight.inputs[0].name == "w2"
    assert weight.inputs[1].const_value.shape == (8,)
    assert weight.attributes.get_int("axis") == 0
    assert bias.inputs[0].const_value.dtype == ir.DataType.INT32
    np.testing.assert_array_equal(
        bias.inputs[1].const_value.numpy(),
        data.inputs[1].const_value.numpy() * weight.inputs[1].const_value.numpy(),
    )
    assert node(result, "dense").inputs[1].producer().attributes.get_int("axis") == 1
    reference, found = (run(model, image=images) for model in (residual_model, result))
    assert sqnr(reference, found) > 25


def test_activations_that_the_grid_clips_are_gone(
    residual_model: ir.Model, images: np.ndarray, bound: Bound
) -> None:
    result = placed(residual_model, bound(residual_model, image=images))
    assert not {"Relu", "Clip"} & set(operators(result))


def test_float_weights_leave_the_graph_and_float_outputs_stay(
    residual_model: ir.Model, images: np.ndarray, bound: Bound
) -> None:
    result = placed(residual_model, bound(residual_model, image=images))
    floats = [
        value.const_value.size
        for value in result.graph.initializers.values()
        if value.const_value.dtype == ir.DataType.FLOAT
    ]
    assert max(floats) == 8  # scales only
    (output,) = result.graph.outputs
    assert output.name == "logits"
    assert output.producer().op_type == "Gemm"
    assert residual_model.graph.initializers["w1"].const_value.dtype == ir.DataType.FLOAT


def test_a_rounded_output_keeps_its_name(
    graph: Graph, images: np.ndarray, bound: Bound, run: Run, sqnr: Sqnr
) -> None:
    model = graph(
        """g (float[n, 3, 12, 12] x, float[2, 3, 1, 1] w) => (float[n, 2, 12, 12] y)
        { y = Conv (x, w) }""",
        {"w": np.float32(np.arange(6).reshape(2, 3, 1, 1))},
    )
    result = placed(model, bound(model, x=images))
    assert [value.name for value in result.graph.outputs] == ["y"]
    assert result.graph.outputs[0].producer().op_type == "DequantizeLinear"
    assert sqnr(run(model, x=images), run(result, x=images)) > 35


def test_float_readers_of_a_float_result_get_it_unrounded(
    graph: Graph, bound: Bound, run: Run, sqnr: Sqnr
) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 6)).astype(np.float32)
    model = graph(
        """g (float[n, 6] x, float[6, 5] a, float[5] b, float[5, 4] c)
        => (float[n, 5] sigmoid, float[n, 4] y)
        { h0 = Gemm (x, a, b)
          [relu] h = Relu (h0)
          [sigmoid] sigmoid = Sigmoid (h)
          [second] y = MatMul (h, c) }""",
        {
            "a": rng.normal(size=(6, 5)).astype(np.float32),
            "b": rng.normal(size=5).astype(np.float32),
            "c": rng.normal(size=(5, 4)).astype(np.float32),
        },
    )
    result = placed(model, bound(model, x=x))
    assert node(result, "sigmoid").inputs[0].producer().name == "relu"
    assert node(result, "second").inputs[0].producer().op_type == "DequantizeLinear"
    assert sqnr(run(model, "y", x=x), run(result, "y", x=x)) > 30


def test_a_shared_weight_is_stored_once(graph: Graph, bound: Bound, run: Run, sqnr: Sqnr) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 5)).astype(np.float32)
    model = graph(
        """g (float[n, 5] x, float[5, 5] w) => (float[n, 5] y)
        { [one] h = MatMul (x, w)
          [two] y = MatMul (h, w) }""",
        {"w": rng.normal(size=(5, 5)).astype(np.float32)},
    )
    result = placed(model, bound(model, x=x))
    assert node(result, "one").inputs[1] is node(result, "two").inputs[1]
    codes = [v for v in result.graph.initializers.values() if v.const_value.size == 25]
    assert [value.name for value in codes] == ["w"]
    assert sqnr(run(model, x=x), run(result, x=x)) > 30


def test_a_shared_weight_has_the_scale_that_all_biases_need(graph: Graph, bound: Bound) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 5)).astype(np.float32)
    weight = rng.normal(size=(5, 5)).astype(np.float32)
    weight[:, 2] = 1e-12
    model = graph(
        """g (float[n, 5] x, float[5, 5] w, float[5] b) => (float[n, 5] y)
        { [one] h = Gemm (x, w)
          [two] y = Gemm (h, w, b) }""",
        {"w": weight, "b": np.ones(5, np.float32)},
    )
    result = placed(model, bound(model, x=x))
    weights = [node(result, name).inputs[1] for name in ("one", "two")]
    assert weights[0] is weights[1]
    scale = weights[0].producer().inputs[1].const_value.numpy()
    grid = node(result, "two").inputs[0].producer().inputs[1].const_value.numpy()
    assert grid * scale[2] * 2**30 >= 1 - 1e-5  # the bias fits into its bits


def test_a_weight_that_float_operators_read_stays_for_them(graph: Graph, bound: Bound) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 5)).astype(np.float32)
    model = graph(
        """g (float[n, 5] x, float[5, 5] w) => (float[n, 5] y, float[5, 5] z)
        { y = MatMul (x, w)
          [exp] z = Exp (w) }""",
        {"w": rng.normal(size=(5, 5)).astype(np.float32)},
    )
    result = placed(model, bound(model, x=x))
    kept = node(result, "exp").inputs[0]
    assert (kept.name, kept.const_value.dtype) == ("w", ir.DataType.FLOAT)


def test_names_that_are_taken_are_left_alone(
    graph: Graph, bound: Bound, run: Run, sqnr: Sqnr
) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 5)).astype(np.float32)
    model = graph(
        """g (float[n, 5] q1, float[5, 5] w1) => (float[n, 5] d1)
        { s1 = MatMul (q1, w1)
          d1 = Exp (s1) }""",
        {"w1": 0.1 * rng.normal(size=(5, 5)).astype(np.float32)},
    )
    result = placed(model, bound(model, q1=x))
    names = [v.name for n in result.graph for v in n.outputs]
    assert len(set(names)) == len(names)
    assert sqnr(run(model, q1=x), run(result, q1=x)) > 30


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param(
            "constant",
            marks=needs_ort("1.30", "the float model's MaxPool takes the Pad and its zeros away"),
        ),
        "reflect",
        "edge",
    ],
)
def test_padding_works_on_the_codes(
    graph: Graph, images: np.ndarray, bound: Bound, run: Run, mode: str, sqnr: Sqnr
) -> None:
    model = graph(
        f"""g (float[n, 3, 12, 12] x, float[4, 3, 1, 1] w, float[4, 4, 1, 1] w2)
        => (float[n, 4, 7, 7] y)
        <int64[8] pads = {{0, 0, 1, 1, 0, 0, 1, 1}}>
        {{ c = Conv (x, w)
           [pad] p = Pad <mode = "{mode}"> (c, pads)
           m = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (p)
           y = Conv (m, w2) }}""",
        {
            "w": np.random.default_rng(0).normal(size=(4, 3, 1, 1)).astype(np.float32),
            "w2": np.random.default_rng(1).normal(size=(4, 4, 1, 1)).astype(np.float32),
        },
    )
    result = placed(model, bound(model, x=images))
    pad = node(result, "pad")
    assert pad.inputs[0].producer().op_type == "QuantizeLinear"
    assert next(iter(pad.outputs[0].uses())).node.op_type == "DequantizeLinear"
    assert sqnr(run(model, x=images), run(result, x=images)) > 30
