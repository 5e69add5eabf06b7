from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtimes.onnx_graph.linear import bias_of, linear_of, rounded, write_bias, write_weight
from runtimes.onnx_graph.rewrite import Refused


def normal(*shape):
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


@st.composite
def operators(draw):
    """One linear operator: signature, expression, arrays."""
    kind = draw(st.sampled_from(["Conv", "ConvTranspose", "Gemm", "MatMul", "MatMul left"]))
    if kind in ("Conv", "ConvTranspose"):
        groups, a, b = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
        inputs, outputs = groups * a, groups * b
        shape = (inputs, b) if kind == "ConvTranspose" else (outputs, a)
        size = 1 if kind == "ConvTranspose" else draw(st.integers(1, 3))
        arrays = {"w": normal(*shape, size, size)}
        return f"float[2, {inputs}, 5, 5] x", f"{kind}<group = {groups}>(x, w)", arrays, 4
    inputs, outputs = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    if kind == "Gemm":
        transposed = draw(st.booleans())
        arrays = {"w": normal(outputs, inputs) if transposed else normal(inputs, outputs)}
        alpha = draw(st.sampled_from([1.0, -0.5]))
        expression = f"Gemm<transB = {int(transposed)}, alpha = {alpha}>(x, w)"
        return f"float[2, {inputs}] x", expression, arrays, 2
    if kind == "MatMul":
        return f"float[2, 3, {inputs}] x", "MatMul(x, w)", {"w": normal(inputs, outputs)}, 3
    return f"float[2, {inputs}, 3] x", "MatMul(w, x)", {"w": normal(outputs, inputs)}, 3


@settings(max_examples=120, deadline=None)
@given(operators())
def test_scaling_the_weight_scales_the_channels(graph, run, random_feed, case):
    signature, expression, arrays, rank = case
    dims = ", ".join("ABCD"[:rank])
    model = graph(f"({signature}) => (float[{dims}] y)", f"y = {expression}", **arrays)
    linear = linear_of(model.graph[0])
    feed = random_feed(model)
    plain = run(model, feed)[0]
    weight = linear.weight_array()
    axis, in_axis = linear.output_axis, linear.input_axis

    def along(numbers, where):
        return numbers.reshape(-1, *[1] * (-where - 1))

    def with_weight(new, x):
        linear.weight_value.const_value.raw[...] = new.astype(np.float32)
        return run(model, {"x": x})[0]

    out, into = normal(linear.output_channels), normal(linear.input_channels)
    scaled = with_weight(linear.scale_outputs(weight, out.astype(np.float64)), feed["x"])
    np.testing.assert_allclose(scaled, plain * along(out, axis), atol=1e-4)
    scaled = with_weight(linear.scale_inputs(weight, into.astype(np.float64)), feed["x"])
    back = with_weight(weight, feed["x"] * along(into, in_axis))
    np.testing.assert_allclose(scaled, back, atol=1e-4)
    if not linear.sees_border():
        shifted = with_weight(weight, feed["x"] + along(into, in_axis))
        added = linear.response(weight, into.astype(np.float64))
        np.testing.assert_allclose(shifted, plain + along(added, axis), atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(operators(), st.integers(1, 40))
def test_weights_are_scaled_some_rows_at_a_time(graph, case, block):
    signature, expression, arrays, rank = case
    dims = ", ".join("ABCD"[:rank])
    model = graph(f"({signature}) => (float[{dims}] y)", f"y = {expression}", **arrays)
    linear = linear_of(model.graph[0])
    weight, value = linear.weight_array(), linear.weight_value
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runtimes.onnx_graph.linear._BLOCK", block)
        for scale in (np.float64(0.3), normal(linear.output_channels).astype(np.float64)):
            found = linear.with_scaled_outputs(np.asarray(scale))
            expected = linear.scale_outputs(weight, np.asarray(scale)).astype(np.float32)
            np.testing.assert_array_equal(found, expected)
        scale = normal(linear.input_channels).astype(np.float64)
        found = linear.with_scaled_inputs(scale)
        np.testing.assert_array_equal(found, linear.scale_inputs(weight, scale).astype(np.float32))
        huge = np.full(linear.output_channels, 1.0)
        huge[-1] = 1e100
        with pytest.raises(Refused, match="do not fit FLOAT"):
            linear.with_scaled_outputs(huge)
    np.testing.assert_array_equal(value.const_value.numpy(), arrays["w"])


BORDERS = [
    ("Conv(x, w)", False),
    ("Conv<pads = [0, 0, 0, 0]>(x, w)", False),
    ('Conv<auto_pad = "VALID">(x, w)', False),
    ("Conv<pads = [0, 1, 0, 0]>(x, w)", True),
    ('Conv<auto_pad = "SAME_LOWER">(x, w)', True),
    ("ConvTranspose(x, w)", True),
]


@pytest.mark.parametrize(("expression", "border"), BORDERS)
def test_who_sees_the_border(graph, expression, border):
    model = graph("(float[2, 3, 5, 5] x) => (float[A, B, C, D] y)", f"y = {expression}",
                  w=normal(3, 3, 3, 3))  # fmt: skip
    assert linear_of(model.graph[0]).sees_border() == border


def test_what_cannot_be_changed_is_refused(graph):
    model = graph("(float[2, 3] x, float[3, 4] v) => (float[2, 4] y)", "y = MatMul(x, v)")
    with pytest.raises(Refused, match="not a constant"):
        linear_of(model.graph[0])
    model = graph("(float[2, 3] x) => (float[2] y)", "y = MatMul(x, w)", w=normal(3))
    with pytest.raises(Refused, match="vector"):
        linear_of(model.graph[0])
    model = graph("(int32[2, 3] x) => (int32[2, 3] y)", "y = MatMul(x, w)",
                  w=np.ones((3, 3), np.int32))  # fmt: skip
    with pytest.raises(Refused, match="INT32"):
        linear_of(model.graph[0])


def test_other_operators_are_not_linear(graph):
    model = graph("(float[2, 3] x) => (float[2, 3] y)", "y = Relu(x)")
    assert linear_of(model.graph[0]) is None


@pytest.mark.parametrize("bias", [normal(4), normal(1, 4), np.float32(3), None])
def test_the_bias_of_gemm_is_one_number_an_output(graph, bias):
    arrays = {"w": normal(3, 4)} if bias is None else {"w": normal(3, 4), "b": bias}
    third = "" if bias is None else ", b"
    model = graph("(float[2, 3] x) => (float[2, 4] y)", f"y = Gemm<beta = 0.5>(x, w{third})",
                  **arrays)  # fmt: skip
    want = np.zeros(4) if bias is None else np.broadcast_to(bias, (1, 4))[0] * 0.5
    np.testing.assert_allclose(bias_of(linear_of(model.graph[0])), want)


def test_a_bias_of_every_sample_is_refused(graph):
    model = graph("(float[4, 3] x) => (float[4, 4] y)", "y = Gemm(x, w, b)",
                  w=normal(3, 4), b=normal(4, 1))  # fmt: skip
    with pytest.raises(Refused, match="not one number per channel"):
        bias_of(linear_of(model.graph[0]))


def test_new_weights_take_the_names_of_the_old(graph):
    model = graph("(float[2, 3] x) => (float[2, 4] y)", "y = Gemm<beta = 0.5>(x, w)",
                  w=normal(3, 4))  # fmt: skip
    linear = linear_of(model.graph[0])
    write_weight([linear], normal(3, 4) + 1, model.graph)
    write_bias(linear, normal(4), model.graph)
    assert [value.name for value in model.graph[0].inputs] == ["x", "w", "w_bias"]
    assert "beta" not in model.graph[0].attributes
    assert set(model.graph.initializers) == {"w", "w_bias"}


@pytest.mark.parametrize(
    ("numbers", "dtype", "reason"),
    [([1e39], np.float32, "do not fit"), ([7e4], np.float16, "do not fit"),
     ([1e-9], np.float16, "too small")],
)  # fmt: skip
def test_numbers_that_a_type_cannot_hold_are_refused(graph, numbers, dtype, reason):
    model = graph("(float[2, 3] x) => (float[2, 3] y)", "c = Cast<to = 1>(k) y = Add(x, c)",
                  k=np.ones(1, dtype))  # fmt: skip
    with pytest.raises(Refused, match=reason):
        rounded(np.array(numbers), model.graph.initializers["k"])
