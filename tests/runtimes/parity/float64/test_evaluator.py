"""Graphs in double precision, against definitions, ONNX Runtime and the reference evaluator."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator
from ort_versions import needs_ort

from runtimes.engines.ort import OrtRuntime
from runtimes.errors import ModelError
from runtimes.parity.float64.evaluator import DoubleEvaluator
from runtimes.parity.float64.kernels import KERNELS

Graph = Callable[[str], ir.Model]


def single(op: str, arrays: list[np.ndarray], **attributes: Any) -> ir.Model:
    """A float32 model of one node."""
    inputs = [
        ir.val(f"x{i}", ir.DataType.from_numpy(a.dtype), a.shape) for i, a in enumerate(arrays)
    ]
    node = ir.node(op, inputs, attributes=attributes)
    graph = ir.Graph(inputs, node.outputs, nodes=[node], opset_imports={"": 20}, name="g")
    node.outputs[0].name = "y"
    node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    return ir.Model(graph, ir_version=10)


def both(op: str, arrays: list[np.ndarray], **attributes: Any) -> tuple[np.ndarray, np.ndarray]:
    """What the kernel gives, and ONNX Runtime in single precision."""
    model = single(op, arrays, **attributes)
    with OrtRuntime(model, threads=1) as runtime:
        found = runtime.run({f"x{i}": a for i, a in enumerate(arrays)})["y"]
    wide = [a.astype(np.float64) if a.dtype == np.float32 else a for a in arrays]
    return KERNELS[op](attributes, wide)[0], found


@given(
    st.sampled_from([(1, 1), (2, 1), (2, 2), (4, 4)]),
    st.lists(st.integers(1, 3), min_size=2, max_size=2),
    st.lists(st.integers(1, 2), min_size=2, max_size=2),
    st.lists(st.integers(0, 2), min_size=4, max_size=4),
    st.integers(0, 99),
)
def test_convolutions(
    channels: Any, strides: list[int], dilations: list[int], pads: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    (count, groups) = channels
    x = rng.standard_normal((2, count, 9, 8)).astype(np.float32)
    w = rng.standard_normal((4, count // groups, 3, 2)).astype(np.float32)
    b = rng.standard_normal(4).astype(np.float32)
    options = {"strides": strides, "dilations": dilations, "pads": pads, "group": groups}
    exact, found = both("Conv", [x, w, b], **options)
    assert exact.dtype == np.float64
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_convolutions_that_pad_by_themselves(auto_pad: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 2, 10)).astype(np.float32)
    w = rng.standard_normal((3, 2, 4)).astype(np.float32)
    exact, found = both("Conv", [x, w], auto_pad=auto_pad, strides=[3])
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-5)


@needs_ort("1.21", "a window of AveragePool could begin behind the end")
@given(
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 1),
    st.booleans(),
    st.booleans(),
    st.integers(5, 9),
)
def test_average_pools(
    kernel: int, stride: int, pad: int, ceil: bool, include: bool, size: int
) -> None:
    if pad >= kernel:
        return
    x = np.random.default_rng(size).standard_normal((2, 3, size)).astype(np.float32)
    exact, found = both(
        "AveragePool",
        [x],
        kernel_shape=[kernel],
        strides=[stride],
        pads=[pad, pad],
        ceil_mode=int(ceil),
        count_include_pad=int(include),
    )
    assert exact.shape == found.shape
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("op", sorted(set(KERNELS) - {"Conv", "AveragePool", "LSTM", "GRU", "RNN"}))
def test_the_other_operators(op: str) -> None:
    x = np.random.default_rng(1).standard_normal((2, 3, 4, 5)).astype(np.float32) * 3
    arrays = [x, np.float32([[[0.1]], [[0.2]], [[0.3]]])] if op == "PRelu" else [x]
    exact, found = both(op, arrays)
    assert exact.dtype == np.float64
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("reset", [0, 1])
def test_recurrent_operators(op: str, direction: str, lengths: bool, reset: int) -> None:
    rng = np.random.default_rng(2)
    gates, ways = {"LSTM": 4, "GRU": 3, "RNN": 1}[op], 1 + (direction == "bidirectional")
    arrays = [
        rng.standard_normal(shape).astype(np.float32)
        for shape in (
            (6, 3, 5),
            (ways, gates * 4, 5),
            (ways, gates * 4, 4),
            (ways, 2 * gates * 4),
        )
    ]
    if lengths:
        arrays.append(np.array([6, 2, 4], np.int32))
    options: dict[str, Any] = {"hidden_size": 4, "direction": direction}
    if op == "GRU":
        options["linear_before_reset"] = reset
    exact, found = both(op, arrays, **options)
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-5)


def test_an_activation_that_is_not_known_is_refused() -> None:
    arrays = [np.zeros(s) for s in ((2, 1, 1), (1, 1, 1), (1, 1, 1))]
    with pytest.raises(NotImplementedError, match="'Spike'"):
        KERNELS["RNN"]({"activations": ["Spike"], "hidden_size": 1}, arrays)


MIXED = """g (float[n, 2, 6, 6] x, int64[k] i) => (float[n, m] y)
<float[3, 2, 3, 3] w = {WEIGHTS}, float[1] half = {0.5}, int64[2] shape = {0, -1}> {
  c = Conv<pads = [1, 1, 1, 1]>(x, w)
  [picked] g = Gather<axis = 1>(c, i)
  r = LeakyRelu<alpha = 0.3>(g)
  s = Mul(r, half)
  one = Constant<value_float = 0.1>()
  t = Add(s, one)
  z = Cast<to = 1>(t)
  y = Reshape(z, shape)
}"""


def mixed(graph: Graph) -> ir.Model:
    weights = np.random.default_rng(0).standard_normal(54).round(3)
    return graph(MIXED.replace("WEIGHTS", ", ".join(map(str, weights))))


def test_a_graph_is_evaluated_in_double_all_through(graph: Graph) -> None:
    model = mixed(graph)
    feed = {
        "x": np.random.default_rng(1).standard_normal((2, 2, 6, 6)).astype(np.float32),
        "i": np.array([2, 0]),
    }
    evaluator = DoubleEvaluator(model)
    found = evaluator.run(feed)["y"]
    assert found.dtype == np.float64
    assert evaluator.narrow == set()
    assert model.graph.inputs[0].dtype == ir.DataType.FLOAT  # the model itself stays as it was
    reference = ReferenceEvaluator(ir.to_proto(model)).run(None, feed)[0]
    error = np.abs(found - reference).max()
    assert 0 < error < 1e-5
    # Values that single precision cannot hold show that nothing was rounded on the way.
    tiny = {**feed, "x": np.full((1, 2, 6, 6), 1e-12, np.float32)}
    spread = evaluator.run(tiny)["y"]
    assert np.unique(spread).size > 2
    np.testing.assert_allclose(spread, np.float64(np.float32(0.1)))


def test_subgraphs_see_what_is_around_them(graph: Graph) -> None:
    model = graph(
        "g (float[n] x, bool c) => (float[n] y) <float[1] k = {3.0}> { a = Mul(x, k)\n"
        "y = If(c) <then_branch = t () => (float[n] p) { p = Add(a, k) },"
        "else_branch = e () => (float[n] q) { q = Neg(a) }> }"
    )
    evaluator = DoubleEvaluator(model)
    x = np.float32([0.1, 2])
    for chosen, expected in ((True, x.astype(float) * 3 + 3), (False, x.astype(float) * -3)):
        found = evaluator.run({"x": x, "c": np.array(chosen)})["y"]
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, expected)


def test_what_cannot_be_evaluated_is_named(graph: Graph) -> None:
    for text in (
        "<int64[1] zero = {0}> { s = Unsqueeze(x, zero)\n [odd] r = Multinomial<dtype = 6>(s)\n"
        " c = Cast<to = 1>(r)\n t = Squeeze(c, zero)\n y = Add(t, t) }",
        "{ [odd] r = RandomNormalLike(x)\n y = Add(x, r) }",
        "{ [odd] r = local.Sparkle(x)\n y = Add(x, r) }",
    ):
        model = graph("g (float[n] x) => (float[n] y)" + text)
        with pytest.raises(ModelError, match=r"node 'odd' .* cannot be evaluated in double"):
            DoubleEvaluator(model).run({"x": np.ones(3, np.float32)})
