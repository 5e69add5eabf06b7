"""Forms that have an INT8 kernel compute the same."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import CheckerPass, ShapeInferencePass

from quantizers.rewrites.single_operators import SpatialMeanToGlobalAveragePool
from runtimes.base import Array

Graph = Callable[..., ir.Model]
Run = Callable[..., Array]


def operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def same(model: ir.Model, rewritten: ir.Model, run: Run, x: Array) -> None:
    CheckerPass()(rewritten)
    np.testing.assert_allclose(run(rewritten, x=x), run(model, x=x), rtol=1e-5, atol=1e-5)


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
