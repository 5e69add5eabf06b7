"""Operators in forms that have a row in the policy table compute the same."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import CheckerPass, ShapeInferencePass

from quantizers import quantize_model
from quantizers.rewrites.single_operators import EqualSlopesToLeakyRelu, SplitToSlices

X = np.random.default_rng(0).normal(size=(3, 7, 4)).astype(np.float32)


def kinds(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


@pytest.mark.parametrize(
    "split",
    [
        "<axis = 1> (x, sizes)",
        "<axis = -2> (x, sizes)",
        "<axis = 1, num_outputs = 2> (x)",
        "<axis = 2, num_outputs = 2> (x)",
    ],
)
def test_parts_of_known_sizes_are_slices(graph, run, split: str) -> None:
    model = graph(
        f"""g (float[n, 7, 4] x) => (float[a, b, c] y, float[d, e, f] z)
        <int64[2] sizes = {{2, 5}}> {{ y, other = Split {split} z = Relu (other) }}"""
    )
    rewritten = ShapeInferencePass()(model.clone()).model
    assert SplitToSlices()(rewritten).modified
    CheckerPass()(rewritten)
    assert sorted(kinds(rewritten)) == ["Relu", "Slice", "Slice"]
    for output in ("y", "z"):
        np.testing.assert_array_equal(run(rewritten, output, x=X), run(model, output, x=X))
    assert not SplitToSlices()(rewritten).modified


@pytest.mark.parametrize(
    ("head", "split"),
    [
        ("float[n, 7, 4] x, int64[2] sizes", "<axis = 1> (x, sizes)"),
        ("float[n, m, 4] x", "<axis = 1, num_outputs = 2> (x)"),
    ],
)
def test_parts_of_unknown_sizes_stay(graph, head: str, split: str) -> None:
    model = graph(f"g ({head}) => (float[n, a, 4] y, float[n, b, 4] z) {{ y, z = Split {split} }}")
    result = SplitToSlices()(model)
    assert not result.modified
    assert "sizes" in str(result.refusals[0])


def test_integers_are_left_alone(graph) -> None:
    model = graph(
        "g (int64[n, 4] x) => (int64[n, 2] y, int64[n, 2] z) "
        "{ y, z = Split <axis = 1, num_outputs = 2> (x) }"
    )
    assert not SplitToSlices()(model).modified


def test_a_split_between_convolutions_moves_codes(graph, bound, run, sqnr, images) -> None:
    rng = np.random.default_rng(0)
    weights = {
        "v": rng.normal(size=(8, 3, 3, 3)).astype(np.float32) / 5,
        "w": rng.normal(size=(4, 4, 1, 1)).astype(np.float32) / 2,
    }
    model = graph(
        """g (float[n, 3, 12, 12] image, float[8, 3, 3, 3] v, float[4, 4, 1, 1] w)
        => (float[n, 4, 10, 10] y)
        { c = Conv (image, v) a, b = Split <axis = 1, num_outputs = 2> (c)
          d = Conv (a, w) e = Relu (d) f = Conv (b, w) y = Add (e, f) }""",
        weights,
    )
    result, report = quantize_model(model, bound(model, image=images))
    assert {o.op_type: o.precision for o in report.operators}["Slice"] == "int8"
    assert report.optimized_operators["QuantizeLinear"] == 1
    assert sqnr(run(model, image=images), run(result, image=images)) > 25


def activated(graph, slopes) -> ir.Model:
    return graph(
        "g (float[n, 7, 4] x, float[4] slopes) => (float[n, 7, 4] y) { y = PRelu (x, slopes) }",
        {"slopes": np.float32(slopes)},
    )


def test_equal_slopes_are_one(graph, run) -> None:
    model = activated(graph, [0.25] * 4)
    rewritten = model.clone()
    assert EqualSlopesToLeakyRelu()(rewritten).modified
    assert kinds(rewritten) == ["LeakyRelu"]
    assert not rewritten.graph.initializers
    np.testing.assert_array_equal(run(rewritten, x=X), run(model, x=X))


def test_slopes_that_differ_stay(graph) -> None:
    result = EqualSlopesToLeakyRelu()(activated(graph, [0.25, 0.25, 0.25, 0.26]))
    assert not result.modified
    assert "slopes differ" in str(result.refusals[0])
