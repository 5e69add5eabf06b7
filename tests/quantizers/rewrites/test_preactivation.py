"""Normalization in front of its activation runs in INT8 and computes the same."""

import re

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import CheckerPass, ShapeInferencePass

from quantizers import quantize_model
from quantizers.rewrites.preactivation import AffineToDepthwise

rng = np.random.default_rng(0)
WEIGHTS = {
    "v": rng.normal(size=(8, 3, 3, 3)).astype(np.float32) / 5,
    "w": rng.normal(size=(8, 8, 1, 1)).astype(np.float32) / 3,
    "k": rng.uniform(0.5, 1.5, (8, 1, 1)).astype(np.float32),
    "b": rng.normal(size=(1, 8, 1, 1)).astype(np.float32) / 3,
    "one": np.float32([0.7]),
    "scale": rng.uniform(0.5, 1.5, 8).astype(np.float32),
    "bias": rng.normal(size=8).astype(np.float32) / 3,
    "mean": rng.normal(size=8).astype(np.float32) / 3,
    "var": rng.uniform(0.5, 1.5, 8).astype(np.float32),
}
AFFINE = "m = Mul (c, k) a = Add (m, b)"
NORM = "a = BatchNormalization <epsilon = 0.001> (c, scale, bias, mean, var)"


def block(graph, body: str, tail: str = "r = Relu (a) y = Conv (r, w)") -> ir.Model:
    words = set(re.findall(r"\w+", f"v {body} {tail}"))
    used = {name: array for name, array in WEIGHTS.items() if name in words}
    heads = ", ".join(f"float[{','.join(map(str, a.shape))}] {n}" for n, a in used.items())
    model = graph(
        f"""g (float[n, 3, 12, 12] image, {heads}) => (float[n, 8, 10, 10] y)
        {{ [first] c = Conv (image, v) {body} {tail} }}""",
        used,
    )
    return ShapeInferencePass()(model).model


@pytest.mark.parametrize(
    "body", [AFFINE, "m = Mul (k, c) a = Add (b, m)", NORM, "a = Mul (c, k)", "a = Add (b, c)"]
)
@pytest.mark.parametrize("tail", ["r = Relu (a) y = Conv (r, w)", "y = Conv (a, w)"])
def test_it_is_a_depthwise_convolution(graph, run, images, body: str, tail: str) -> None:
    model = block(graph, body, tail)
    rewritten = model.clone()
    assert AffineToDepthwise()(rewritten).modified
    CheckerPass()(rewritten)
    convs = [node for node in rewritten.graph if node.op_type == "Conv"]
    assert [conv.attributes.get_int("group", 1) for conv in convs] == [1, 8, 1]
    assert {node.op_type for node in rewritten.graph} <= {"Conv", "Relu"}
    assert not {"k", "b", "scale", "mean"} & set(rewritten.graph.initializers)
    reference = run(model, image=images)
    np.testing.assert_allclose(run(rewritten, image=images), reference, rtol=1e-4, atol=1e-5)
    assert not AffineToDepthwise()(rewritten).modified


@pytest.mark.parametrize(
    ("body", "tail"),
    [
        ("a = Mul (c, one)", "y = Conv (a, w)"),  # one factor for all
        (AFFINE, "y = Exp (a)"),
        (AFFINE, "d = Conv (a, w) y = Add (d, a)"),  # read in float too
        ("m = Mul (c, k) a = Exp (m)", "y = Conv (a, w)"),
    ],
)
def test_what_is_none_stays(graph, body: str, tail: str) -> None:
    model = block(graph, body, tail)
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    assert not AffineToDepthwise()(model).modified
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("body", [AFFINE, NORM])
def test_the_whole_block_runs_in_int8(graph, bound, run, sqnr, images, body: str) -> None:
    tail = "r = Relu (a) d = Conv (r, w) y = Add (c, d)"
    model = block(graph, body, tail)
    result, report = quantize_model(model, bound(model, image=images))
    assert report.optimized_operators["QLinearConv"] == 3
    assert report.optimized_operators["QuantizeLinear"] == 1
    assert sqnr(run(model, image=images), run(result, image=images)) > 28
