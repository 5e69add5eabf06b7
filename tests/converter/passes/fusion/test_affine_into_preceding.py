from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.passes.fusion.affine_into_preceding import FoldAffineIntoPrecedingLinear

FOLD = FoldAffineIntoPrecedingLinear()
RNG = np.random.default_rng(0)


def normal(*shape, dtype=np.float32):
    return np.random.default_rng(shape).normal(size=shape).astype(dtype)


def statistics(channels, variance=None):
    variance = RNG.uniform(0.5, 2, channels) if variance is None else variance
    return {
        "gamma": normal(channels),
        "beta": normal(channels),
        "mean": normal(channels),
        "variance": np.asarray(variance, np.float32),
    }


def test_batch_normalization_disappears_into_conv(graph, check_pass, ops):
    model = graph(
        "(float[N, 3, 8, 8] x) => (float[N, 4, 6, 6] y)",
        "c = Conv(x, w, b) y = BatchNormalization<epsilon = 0.001>(c, gamma, beta, mean, variance)",
        w=normal(4, 3, 3, 3),
        b=normal(4),
        **statistics(4),
    )
    result = check_pass(FOLD, model)
    assert result.modified
    assert not result.refusals
    assert ops(model) == ["Conv"]


def test_a_channel_that_never_varies_does_not_become_nan(graph, check_pass, run, random_feed):
    model = graph(
        "(float[N, 3, 8, 8] x) => (float[N, 4, 6, 6] y)",
        "c = Conv(x, w) y = BatchNormalization<epsilon = 0.001>(c, gamma, beta, mean, variance)",
        w=normal(4, 3, 3, 3),
        **statistics(4, variance=[0, 1e-38, 1e-12, 1]),
    )
    assert check_pass(FOLD, model).modified
    assert np.isfinite(run(model, random_feed(model))[0]).all()


@pytest.mark.parametrize("operand_first", [False, True])
@pytest.mark.parametrize("op", ["Mul", "Add", "Sub", "Div"])
def test_every_operator_that_is_affine(graph, check_pass, ops, op, operand_first):
    arguments = "k, c" if operand_first else "c, k"
    model = graph(
        "(float[N, 3, 8, 8] x) => (float[N, 4, 6, 6] y)",
        f"c = Conv(x, w, b) y = {op}({arguments})",
        w=normal(4, 3, 3, 3),
        b=normal(4),
        k=np.abs(normal(4, 1, 1)) + 0.5,
    )
    result = check_pass(FOLD, model)
    # k / x is the only one of the eight that is not affine in x.
    assert result.modified == (not (op == "Div" and operand_first))


@st.composite
def convolutions(draw):
    """Conv or ConvTranspose of any rank, groups, strides and dilation, then an affine chain."""
    transposed = draw(st.booleans())
    spatial = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 2, 3]))
    per_input, per_output = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    inputs, outputs = groups * per_input, groups * per_output
    kernel = draw(st.lists(st.integers(1, 3), min_size=spatial, max_size=spatial))
    strides = draw(st.lists(st.integers(1, 2), min_size=spatial, max_size=spatial))
    bias = draw(st.booleans())
    lead = inputs if transposed else outputs
    per_lead = per_output if transposed else per_input
    links = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["Mul", "Add", "Sub", "Div"]),
                st.sampled_from(["channel", "batch_channel", "one", "ones"]),
            ),
            min_size=1,
            max_size=3,
        )
    )
    return transposed, inputs, outputs, groups, kernel, strides, bias, (lead, per_lead), links


@settings(max_examples=40, deadline=None)
@given(convolutions())
def test_any_convolution_takes_any_chain(graph, check_pass, ops, case):
    transposed, inputs, outputs, groups, kernel, strides, bias, lead, links = case
    op = "ConvTranspose" if transposed else "Conv"
    ones = [1] * len(kernel)
    shapes = {
        "channel": [outputs, *ones],
        "batch_channel": [1, outputs, *ones],
        "one": [],
        "ones": [1, 1, *ones],
    }
    arrays = {"w": normal(*lead, *kernel)}
    if bias:
        arrays["b"] = normal(outputs)
    body = f"v0 = {op}<group = {groups}, strides = {strides}>(x, w{', b' if bias else ''})"
    for index, (link, shape) in enumerate(links):
        arrays[f"k{index}"] = np.abs(normal(*shapes[shape], 1)[..., 0]) + np.float32(0.5)
        body += f" v{index + 1} = {link}(v{index}, k{index})"
    dims = ", ".join(["N", str(inputs), *["5"] * len(kernel)])
    out = ", ".join(["N", str(outputs), *"ABC"[: len(kernel)]])
    body += f" y = Identity(v{len(links)})"
    model = graph(f"(float[{dims}] x) => (float[{out}] y)", body, **arrays)
    assert check_pass(FOLD, model, tolerance=1e-4).modified
    assert ops(model) == [op, "Identity"]


@settings(max_examples=30, deadline=None)
@given(
    transposed=st.booleans(),
    alpha=st.sampled_from([1.0, 0.5]),
    beta=st.sampled_from([1.0, -2.0]),
    bias=st.sampled_from([None, (4,), (1, 4), (1,), ()]),
    operand=st.sampled_from([(4,), (1, 4), (1, 1), ()]),
    link=st.sampled_from(["Mul", "Add", "Sub", "Div"]),
)
def test_gemm_takes_them_with_any_attributes(
    graph, check_pass, ops, transposed, alpha, beta, bias, operand, link
):
    arrays = {"w": normal(4, 3) if transposed else normal(3, 4)}
    arrays["k"] = np.abs(normal(*operand, 1)[..., 0]) + np.float32(0.5)
    if bias is not None:
        arrays["b"] = normal(*bias, 1)[..., 0]
    third = "" if bias is None else ", b"
    model = graph(
        "(float[N, 3] x) => (float[N, 4] y)",
        f"g = Gemm<transB = {int(transposed)}, alpha = {alpha}, beta = {beta}>(x, w{third})"
        f" y = {link}(g, k)",
        **arrays,
    )
    assert check_pass(FOLD, model).modified
    assert ops(model) == ["Gemm"]


def test_matmul_keeps_one_add(graph, check_pass, ops):
    model = graph(
        "(float[N, 3] x) => (float[N, 4] y)",
        "m = MatMul(x, w) a = Add(m, b) s = Mul(a, k) y = Sub(s, c)",
        w=normal(3, 4),
        b=normal(4),
        k=normal(4),
        c=normal(4),
    )
    assert check_pass(FOLD, model).modified
    assert ops(model) == ["MatMul", "Add"]
    assert not check_pass(FOLD, model).modified


def test_matmul_with_the_weight_on_the_left_has_its_channels_in_rows(graph, check_pass, ops):
    model = graph(
        "(float[N, 3, 5] x) => (float[N, 4, 5] y)",
        "m = MatMul(w, x) s = Mul(m, k) y = Add(s, b)",
        w=normal(4, 3),
        k=normal(4, 1),
        b=normal(1, 4, 1),
    )
    model.graph[0].outputs[0].shape = model.graph.outputs[0].shape
    assert check_pass(FOLD, model).modified
    assert ops(model) == ["MatMul", "Add"]


def test_folds_through_what_only_moves_data(graph, check_pass, ops):
    model = graph(
        "(float[N, 3, 1, 8] x) => (float[N, 8, 4] y)",
        """c = Conv(x, w) t = Transpose<perm = [0, 2, 3, 1]>(c) s = Squeeze(t, one)
        m = Mul(s, k) y = Add(m, b)""",
        w=normal(4, 3, 1, 1),
        one=np.array([1]),
        k=normal(4),
        b=normal(4),
    )
    assert check_pass(FOLD, model).modified
    assert ops(model) == ["Conv", "Transpose", "Squeeze"]


def test_half_precision_is_folded_once_and_rounded_once(graph, check_pass, ops):
    model = graph(
        "(float16[N, 3, 4, 4] x) => (float16[N, 4, 4, 4] y)",
        "c = Conv(x, w) y = Mul(c, k)",
        w=normal(4, 3, 1, 1, dtype=np.float16),
        k=np.full((1, 4, 1, 1), 0.1, np.float16),
    )
    want = model.graph.initializers["w"].const_value.numpy().astype(np.float64)
    want = (want * np.float64(np.float16(0.1))).astype(np.float16)
    assert FOLD(model).modified
    np.testing.assert_array_equal(model.graph.initializers["w"].const_value.numpy(), want)


def conv(graph, body, outputs="float[N, 4, 8, 8] y", **arrays):
    arrays = {"w": normal(4, 3, 1, 1), **arrays}
    return graph(f"(float[N, 3, 8, 8] x) => ({outputs})", body, **arrays)


def per_channel(value=2.0):
    return np.full((4, 1, 1), value, np.float32)


NEAR_MISSES = {
    "used elsewhere": (
        "c = Conv(x, w) m = Mul(c, k) y = Add(m, c)",
        {"k": per_channel()},
        "'c' is used elsewhere too",
    ),
    "output": (
        "c = Conv(x, w) y = Mul(c, k)",
        {"k": per_channel()},
        "'c' is an output of the graph too",
    ),
    "shared weight": (
        "c = Conv(x, w) m = Mul(c, k) d = Conv(x, w) y = Add(m, d)",
        {"k": per_channel()},
        "the weight 'w' is shared with Conv d",
    ),
    "wrong axis": (
        "c = Conv(x, w) y = Mul(c, k)",
        {"k": normal(8)},
        "is along axis -1, counted from the end, but the channels are along -3",
    ),
    "not one a channel": (
        "c = Conv(x, w) y = Mul(c, k)",
        {"k": normal(4, 8, 1)},
        "not one number per channel",
    ),
    "widens": (
        "c = Conv(x, w) y = Mul(c, k)",
        {"k": normal(1, 1, 4, 1, 1)},
        "more dimensions than the data",
    ),
    "zero": ("c = Conv(x, w) y = Div(c, k)", {"k": per_channel(0)}, "divides by zero"),
    "nan": ("c = Conv(x, w) y = Mul(c, k)", {"k": per_channel(np.nan)}, "holds NaN"),
    "overflow": (
        "c = Conv(x, w) y = Mul(c, k)",
        {"w": np.full((4, 3, 1, 1), 1e20, np.float32), "k": per_channel(1e20)},
        "do not fit FLOAT",
    ),
    "underflow": (
        "c = Conv(x, w) y = Mul(c, k)",
        {"w": np.full((4, 3, 1, 1), 1e-30, np.float32), "k": per_channel(1e-15)},
        "too small for FLOAT",
    ),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_near_misses_stay_and_say_why(graph, ops, name):
    body, arrays, reason = NEAR_MISSES[name]
    outputs = {
        "output": "float[N, 4, 8, 8] y, float[N, 4, 8, 8] c",
        "widens": "float[1, N, 4, 8, 8] y",
    }.get(name, "float[N, 4, 8, 8] y")
    model = conv(graph, body, outputs, **arrays)
    before = ops(model)
    result = FOLD(model)
    assert not result.modified
    assert ops(model) == before
    assert any(reason in str(refusal) for refusal in result.refusals), result.refusals


def test_a_layer_that_is_called_twice_folds_once(graph, check_pass, ops):
    model = conv(
        graph,
        """c = Conv(x, w) m = Mul(c, k) a = Add(m, b) n = Neg(x)
        d = Conv(n, w) p = Mul(d, l) q = Add(p, b) y = Sub(a, q)""",
        k=normal(4, 1, 1),
        l=normal(4, 1, 1),
        b=normal(4, 1, 1),
    )
    assert check_pass(FOLD, model).modified
    assert ops(model) == ["Conv", "Neg", "Conv", "Sub"]
    assert len({node.inputs[1] for node in model.graph if node.op_type == "Conv"}) == 1


def test_a_layer_that_is_called_twice_and_scaled_differently_stays(graph, check_pass):
    model = conv(
        graph,
        "c = Conv(x, w) m = Mul(c, k) d = Conv(x, w) p = Mul(d, l) y = Sub(m, p)",
        k=normal(4, 1, 1),
        l=normal(4, 1, 1) + 1,
    )
    result = check_pass(FOLD, model)
    assert not result.modified
    assert len(result.refusals) == 2


def test_a_scale_that_is_computed_is_not_a_constant(graph, check_pass):
    model = conv(graph, "c = Conv(x, w) s = Sigmoid(c) y = Mul(c, s)")
    result = check_pass(FOLD, model)
    assert not result.modified
    assert not result.refusals


def test_a_weight_that_the_caller_may_override_is_not_a_constant(graph, check_pass):
    model = graph(
        "(float[N, 3, 8, 8] x, float[4, 3, 1, 1] w) => (float[N, 4, 8, 8] y)",
        "c = Conv(x, w) y = Mul(c, k)",
        w=normal(4, 3, 1, 1),
        k=per_channel(),
    )
    result = check_pass(FOLD, model)
    assert not result.modified
    assert "its weight is not a constant" in str(result.refusals[0])


def test_outputs_alone_say_training_in_old_opsets(graph):
    model = graph(
        "(float[N, 3, 8, 8] x) => (float[N, 4, 8, 8] y)",
        """c = Conv(x, w)
        y, m, v, sm, sv = BatchNormalization(c, gamma, beta, mean, variance)""",
        opset=9,
        w=normal(4, 3, 1, 1),
        **statistics(4),
    )
    result = FOLD(model)
    assert not result.modified
    assert "training mode" in str(result.refusals[0])


def test_training_mode_stays(graph):
    model = graph(
        "(float[N, 3, 8, 8] x) => (float[N, 4, 8, 8] y)",
        """c = Conv(x, w)
        y, m, v = BatchNormalization<training_mode = 1>(c, gamma, beta, mean, variance)""",
        w=normal(4, 3, 1, 1),
        **statistics(4),
    )
    result = FOLD(model)
    assert not result.modified
    assert "training mode" in str(result.refusals[0])


def test_integers_are_none_of_its_business(graph, check_pass):
    model = graph(
        "(int32[N, 3] x) => (int32[N, 4] y)",
        "m = MatMul(x, w) y = Mul(m, k)",
        w=np.ones((3, 4), np.int32),
        k=np.full(4, 2, np.int32),
    )
    assert not check_pass(FOLD, model).modified


def test_folds_inside_a_subgraph(graph, check_pass):
    model = graph(
        "(float[N, 3] x, bool c) => (float[N, 4] y)",
        """y = If (c) <
          then_branch = t () => (float[N, 4] u) { m = MatMul(x, w) u = Mul(m, k) },
          else_branch = e () => (float[N, 4] v) { v = MatMul(x, w2) }
        >""",
        w=normal(3, 4),
        w2=normal(3, 4),
        k=normal(4),
    )
    assert check_pass(FOLD, model, seed=1).modified
    branch = model.graph[0].attributes["then_branch"].as_graph()
    assert [node.op_type for node in branch] == ["MatMul"]


def test_it_prints_itself():
    assert repr(FOLD) == "FoldAffineIntoPrecedingLinear()"
