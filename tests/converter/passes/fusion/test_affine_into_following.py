from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.passes.fusion.affine_into_following import FoldAffineIntoFollowingLinear
from converter.passes.shapes.infer_shapes import InferShapes

FOLD = FoldAffineIntoFollowingLinear()


def normal(*shape):
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def positive(*shape):
    return np.abs(normal(*shape)) + np.float32(0.5)


@st.composite
def convolutions(draw):
    transposed = draw(st.booleans())
    spatial = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 2, 3]))
    per_input, per_output = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    kernel = draw(st.lists(st.integers(1, 3), min_size=spatial, max_size=spatial))
    pads = draw(st.lists(st.integers(0, 1), min_size=2 * spatial, max_size=2 * spatial))
    stride = draw(st.integers(1, 2))
    links = draw(
        st.lists(
            st.tuples(st.sampled_from(["Mul", "Add", "Sub", "Div"]), st.booleans()),
            min_size=1,
            max_size=3,
        )
    )
    return transposed, groups, per_input, per_output, kernel, pads, stride, links


@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_any_convolution_after_any_chain(graph, check_pass, ops, case):
    transposed, groups, per_input, per_output, kernel, pads, stride, links = case
    inputs, outputs = groups * per_input, groups * per_output
    shape = (inputs, per_output) if transposed else (outputs, per_input)
    arrays = {"w": normal(*shape, *kernel)}
    ones = [1] * len(kernel)
    body = "v0 = Identity(x)"
    for index, (link, one) in enumerate(links):
        numbers = positive(*([1] if one else [inputs, *ones]))
        arrays[f"k{index}"] = numbers + np.float32(0.1 * index)
        body += f" v{index + 1} = {link}(v{index}, k{index})"
    op = "ConvTranspose" if transposed else "Conv"
    strides = [stride] * len(kernel)
    body += f" y = {op}<group = {groups}, pads = {pads}, strides = {strides}>(v{len(links)}, w)"
    dims = ", ".join(["N", str(inputs), *["5"] * len(kernel)])
    out = ", ".join(["N", str(outputs), *"ABC"[: len(kernel)]])
    model = graph(f"(float[{dims}] x) => (float[{out}] y)", body, **arrays)
    check_pass(FOLD, model, tolerance=1e-4)
    adds = any(link in ("Add", "Sub") for link, _ in links)
    border = any(pads) or (transposed and (stride > 1 or set(kernel) != {1}))
    if not adds or not border:
        assert ops(model) == ["Identity", op]
    elif len(links) > 1:
        assert ops(model) == ["Identity", "Add", op]
    else:
        assert ops(model) == ["Identity", links[0][0], op]


@settings(max_examples=30, deadline=None)
@given(
    transposed=st.booleans(),
    alpha=st.sampled_from([1.0, 0.5]),
    beta=st.sampled_from([1.0, -2.0]),
    bias=st.sampled_from([None, (4,), ()]),
    operand=st.sampled_from([(3,), (1, 3), ()]),
    link=st.sampled_from(["Mul", "Add", "Sub", "Div"]),
)
def test_gemm_with_any_attributes(
    graph, check_pass, ops, transposed, alpha, beta, bias, operand, link
):
    arrays = {"w": normal(4, 3) if transposed else normal(3, 4)}
    arrays["k"] = positive(*operand, 1)[..., 0]
    if bias is not None:
        arrays["b"] = normal(*bias, 1)[..., 0]
    third = "" if bias is None else ", b"
    model = graph(
        "(float[N, 3] x) => (float[N, 4] y)",
        f"""i = Identity(x) v = {link}(i, k)
        y = Gemm<transB = {int(transposed)}, alpha = {alpha}, beta = {beta}>(v, w{third})""",
        **arrays,
    )
    assert check_pass(FOLD, model).modified
    assert ops(model) == ["Identity", "Gemm"]


def test_batch_normalization_between_pooling_and_dense(graph, check_pass, ops):
    model = graph(
        "(float[N, 3, 4, 4] x) => (float[N, 5] y)",
        """p = GlobalAveragePool(x) n = BatchNormalization(p, gamma, beta, mean, variance)
        s = Squeeze(n, axes) m = MatMul(s, w) y = Add(m, b)""",
        gamma=normal(3),
        beta=normal(3),
        mean=normal(3),
        variance=positive(3),
        axes=np.array([2, 3]),
        w=normal(3, 5),
        b=normal(5),
    )
    InferShapes()(model)
    assert check_pass(FOLD, model).modified
    assert ops(model) == ["GlobalAveragePool", "Squeeze", "MatMul", "Add", "Add"]


@settings(max_examples=30, deadline=None)
@given(
    first=st.booleans(),
    pool=st.booleans(),
    dense=st.sampled_from(["MatMul(f, w)", "Gemm(f, w)", "Gemm<transB = 1>(f, w)"]),
    flatten=st.sampled_from(["Reshape(p, shape)", "Flatten(p)"]),
)
def test_through_flatten(graph, check_pass, ops, first, pool, dense, flatten):
    """Channels are the first axis of a sample, or its last."""
    pool = pool and first
    size = 12 if pool else 48
    channels = (3, 1, 1) if first else (4,)
    arrays = {"k": positive(*channels), "c": normal(*channels), "b": normal(5)}
    arrays["w"] = normal(5, size) if "transB" in dense else normal(size, 5)
    if "shape" in flatten:
        arrays["shape"] = np.array([0, size])
    if pool:
        body = "p = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(a)"
    else:
        body, arrays["one"] = "u = Unsqueeze(a, one) p = Squeeze(u, one)", np.array([1])
    model = graph(
        "(float[N, 3, 4, 4] x) => (float[N, 5] y)",
        f"m = Mul(x, k) a = Add(m, c) {body} f = {flatten} d = {dense} y = Add(d, b)",
        **arrays,
    )
    InferShapes()(model)
    assert check_pass(FOLD, model, tolerance=1e-4).modified
    assert "Mul" not in ops(model)


def test_a_sample_whose_middle_axis_carries_the_channels_stays(graph, check_pass):
    model = graph(
        "(float[N, 3, 4, 5] x) => (float[N, 2] y)",
        "a = Mul(x, k) f = Flatten(a) y = MatMul(f, w)",
        k=positive(4, 1),
        w=normal(60, 2),
    )
    InferShapes()(model)
    result = check_pass(FOLD, model)
    assert not result.modified
    assert "is along axis -2" in str(result.refusals[0])


@pytest.mark.parametrize(("scale", "folds"), [(2.0, True), (0.0, True), (-1.0, False)])
def test_through_a_maximum_only_what_keeps_the_order(graph, check_pass, ops, scale, folds):
    model = graph(
        "(float[N, 3, 4, 4] x) => (float[N, 5, 2, 2] y)",
        "m = Mul(x, k) a = Add(m, b) p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(a)"
        "y = Conv(p, w)",
        k=np.array([1, scale, 3], np.float32).reshape(3, 1, 1),
        b=normal(3, 1, 1),
        w=normal(5, 3, 1, 1),
    )
    result = check_pass(FOLD, model)
    # The Add keeps the order in any case.
    assert result.modified
    assert ("Mul" not in ops(model)) == folds
    assert folds or "a maximum is in between" in str(result.refusals)


def test_an_average_that_counts_padding_is_in_the_way(graph, check_pass):
    model = graph(
        "(float[N, 3, 4, 4] x) => (float[N, 5, 5, 5] y)",
        """a = Add(x, b)
        p = AveragePool<kernel_shape = [2, 2], pads = [1, 1, 1, 1], count_include_pad = 1>(a)
        y = Conv(p, w)""",
        b=normal(3, 1, 1),
        w=normal(5, 3, 1, 1),
    )
    assert not check_pass(FOLD, model).modified


NEAR_MISSES = {
    "padding": ("a = Add(x, k) y = Conv<pads = [1, 1, 1, 1]>(a, w)", {}, "padding adds zeros"),
    "zero scale": (
        "m = Mul(x, z) a = Add(m, k) y = Conv<pads = [1, 1, 1, 1]>(a, w)",
        {"z": np.zeros((3, 1, 1), np.float32)},
        "its scale is zero",
    ),
    "used elsewhere": (
        "a = Mul(x, k) c = Conv<pads = [1, 1, 1, 1]>(a, w) r = ReduceSum(a, all) y = Add(c, r)",
        {"all": np.array([1])},
        "is used elsewhere too",
    ),
    "shared weight": (
        """a = Mul(x, k) c = Conv<pads = [1, 1, 1, 1]>(a, w)
        d = Conv<pads = [1, 1, 1, 1]>(x, w) y = Add(c, d)""",
        {},
        "is shared with another node",
    ),
    "wrong axis": (
        "a = Mul(x, v) y = Conv<pads = [1, 1, 1, 1]>(a, w)",
        {"v": normal(8)},
        "is along axis -1",
    ),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_near_misses_stay_and_say_why(graph, check_pass, name):
    body, arrays, reason = NEAR_MISSES[name]
    arrays = {"w": normal(4, 3, 3, 3), "k": positive(3, 1, 1), **arrays}
    if "k)" not in body:
        del arrays["k"]
    model = graph("(float[N, 3, 8, 8] x) => (float[N, 4, 8, 8] y)", body, **arrays)
    result = check_pass(FOLD, model)
    assert not result.modified
    assert reason in str(result.refusals[0])


def test_matmul_without_a_gain_stays(graph, check_pass):
    model = graph("(float[N, 3] x) => (float[N, 4] y)", "a = Add(x, k) y = MatMul(a, w)",
                  k=normal(3), w=normal(3, 4))  # fmt: skip
    assert not check_pass(FOLD, model).modified
