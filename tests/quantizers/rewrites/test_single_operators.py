"""Forms that have an INT8 kernel compute the same."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import CheckerPass, ShapeInferencePass

from quantizers.rewrites.single_operators import FoldPadIntoConv, SpatialMeanToGlobalAveragePool
from runtimes.base import Array

Graph = Callable[..., ir.Model]
Run = Callable[..., Array]

W = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)


def operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def same(model: ir.Model, rewritten: ir.Model, run: Run, x: Array) -> None:
    CheckerPass()(rewritten)
    np.testing.assert_allclose(run(rewritten, x=x), run(model, x=x), rtol=1e-5, atol=1e-5)


def padded(graph: Graph, pad: str, conv: str = "", *, extra: str = "", opset: int = 18) -> ir.Model:
    return graph(
        f"""g (float[n, 3, 12, 12] x, float[4, 3, 3, 3] w) => (float[n, 4, a, b] y)
        <float zero = {{0}}, float one = {{1}}, int64[2] axes = {{-1, 2}},
         int64[8] pads = {{0, 0, 0, 1, 0, 0, 2, 1}}, int64[8] batch = {{1, 0, 0, 1, 0, 0, 0, 0}},
         int64[8] crop = {{0, 0, -1, 0, 0, 0, 0, 0}}, int64[4] some = {{0, 1, 2, 0}}>
        {{ p = Pad {pad}
           y = Conv {conv} (p, w) {extra} }}""",
        {"w": W},
        opset,
    )


@pytest.mark.parametrize(
    ("pad", "conv"),
    [
        ("(x, pads)", ""),
        ("(x, pads, zero)", "<pads = [1, 0, 2, 0], strides = [2, 2]>"),
        ('<mode = "constant"> (x, pads)', '<auto_pad = "VALID">'),
        ("(x, some, , axes)", "<dilations = [2, 1]>"),
    ],
)
def test_padding_joins_that_of_the_conv(
    graph: Graph, run: Run, images: Array, pad: str, conv: str
) -> None:
    model = padded(graph, pad, conv)
    rewritten = ShapeInferencePass()(model.clone()).model
    assert FoldPadIntoConv()(rewritten).modified
    assert operators(rewritten) == ["Conv"]
    same(model, rewritten, run, images)
    assert not FoldPadIntoConv()(rewritten).modified


@pytest.mark.parametrize(
    ("pad", "conv"),
    [
        ("(x, pads, one)", ""),
        ('<mode = "reflect"> (x, pads)', ""),
        ("(x, batch)", ""),
        ("(x, crop)", ""),
        ("(x, pads)", '<auto_pad = "SAME_UPPER">'),
    ],
)
def test_other_padding_stays(graph: Graph, pad: str, conv: str) -> None:
    model = ShapeInferencePass()(padded(graph, pad, conv)).model
    result = FoldPadIntoConv()(model)
    assert not result.modified
    assert len(result.refusals) == 1
    assert operators(model) == ["Pad", "Conv"]


def test_a_pad_with_other_readers_stays_for_them(graph: Graph, run: Run, images: Array) -> None:
    model = padded(graph, "(x, pads)", extra="\n z = Exp (p)")
    model.graph.outputs.append(model.graph.node(2).outputs[0])
    model.graph.outputs[1].dtype = ir.DataType.FLOAT
    rewritten = ShapeInferencePass()(model.clone()).model
    FoldPadIntoConv()(rewritten)
    assert operators(rewritten) == ["Pad", "Conv", "Exp"]
    same(model, rewritten, run, images)


def mean(graph: Graph, body: str, output: str, opset: int = 18, size: int = 12) -> ir.Model:
    return graph(
        f"""g (float[n, 3, {size}, {size}] x) => (float[{output}] y)
        <int64[2] spatial = {{2, 3}}, int64[2] negative = {{-1, -2}}, int64[2] inner = {{1, 2}},
         int64[1] one = {{2}}, int64[4] last = {{-1, 1, 1, 3}}>
        {{ {body} }}""",
        opset=opset,
    )


@pytest.mark.parametrize(
    ("body", "output", "opset", "found"),
    [
        ("y = ReduceMean <keepdims = 0> (x, spatial)", "n, 3", 18, "GlobalAveragePool Flatten"),
        ("y = ReduceMean (x, negative)", "n, 3, 1, 1", 18, "GlobalAveragePool"),
        (
            "y = ReduceMean <keepdims = 0, axes = [2, 3]> (x)",
            "n, 3",
            13,
            "GlobalAveragePool Flatten",
        ),
        (
            "t = Transpose <perm = [0, 2, 3, 1]> (x)\n y = ReduceMean <keepdims = 0> (t, inner)",
            *("n, 3", 18, "GlobalAveragePool Flatten"),
        ),
    ],
)
def test_a_mean_over_all_pixels_is_global_pooling(
    graph: Graph, run: Run, images: Array, body: str, output: str, opset: int, found: str
) -> None:
    model = mean(graph, body, output, opset)
    rewritten = ShapeInferencePass()(model.clone()).model
    assert SpatialMeanToGlobalAveragePool()(rewritten).modified
    assert operators(rewritten) == found.split()
    assert rewritten.graph.outputs[0].name == "y"
    same(model, rewritten, run, images)


def test_the_mean_of_one_pixel_is_the_pixel(graph: Graph, run: Run, images: Array) -> None:
    pixel = images[:, :, :1, :1]
    for body, output, found in (
        ("y = ReduceMean <keepdims = 0> (x, spatial)", "n, 3", ["Flatten"]),
        ("y = ReduceMean (x, spatial)", "n, 3, 1, 1", ["Identity"]),
        (
            "r = Reshape (x, last)\n y = ReduceMean <keepdims = 0> (r, inner)",
            "n, 3",
            ["Flatten"],
        ),
    ):
        model = mean(graph, body, output, size=1)
        rewritten = ShapeInferencePass()(model.clone()).model
        SpatialMeanToGlobalAveragePool()(rewritten)
        assert operators(rewritten) == found
        same(model, rewritten, run, pixel)


@pytest.mark.parametrize(
    "body",
    [
        "y = ReduceMean <keepdims = 0> (x, inner)",
        "y = ReduceMean <keepdims = 0> (x, one)",
        "y = ReduceMean <keepdims = 0> (x)",
        "t = Transpose <perm = [0, 3, 2, 1]> (x)\n y = ReduceMean <keepdims = 0> (t, inner)",
        "t = Transpose <perm = [0, 2, 3, 1]> (x)\n y = ReduceMean (t, inner)",
        "y = ReduceMax <keepdims = 0> (x, spatial)",
    ],
)
def test_other_reductions_stay(graph: Graph, body: str) -> None:
    model = ShapeInferencePass()(mean(graph, body, "a, b")).model
    assert not SpatialMeanToGlobalAveragePool()(model).modified
    assert "GlobalAveragePool" not in operators(model)
