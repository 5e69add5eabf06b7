from __future__ import annotations

import numpy as np
import pytest

from converter.passes.shapes.infer_shapes import InferShapes
from runtimes.onnx_graph.channel_axis import Channel, Commutes, commutes

AXES = np.array([2])
CASES = {
    "Transpose": ("Transpose<perm = [0, 2, 3, 1]>(x)", {}, Channel(-1, 4)),
    "Squeeze": ("Squeeze(x, k)", {"k": AXES}, Channel(-2, 3)),
    "Unsqueeze": ("Unsqueeze(x, k)", {"k": AXES}, Channel(-4, 5)),
    "MaxPool": ("MaxPool<kernel_shape = [1, 1]>(x)", {}, Channel(-3, 4)),
    "ReduceMean": ("ReduceMean(x, k)", {"k": AXES}, Channel(-3, 4)),
    "ReduceMax": ("ReduceMax<keepdims = 0>(x, k)", {"k": np.array([-1, 2])}, Channel(-1, 2)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_second_axis_is_followed_both_ways(graph, name):
    expression, arrays, expected = CASES[name]
    dims = ", ".join("ABCDE"[: expected.rank])
    model = graph(f"(float[N, 3, 1, 5] x) => (float[{dims}] y)", f"y = {expression}", **arrays)
    InferShapes()(model)
    node = model.graph[0]
    assert Channel(-3, 4).after(node) == expected
    assert expected.before(node) == Channel(-3, 4)


MIXES = {
    "Squeeze of itself": ("Squeeze(x, k)", {"k": np.array([1])}),
    "reduced away": ("ReduceMean(x, k)", {"k": np.array([1])}),
    "Reshape": ("Reshape(x, k)", {"k": np.array([0, 1, 3, 5])}),
    "Relu": ("Relu(x)", {}),
    "padding that counts": (
        "AveragePool<kernel_shape = [1, 2], pads = [0, 1, 0, 1], count_include_pad = 1>(x)", {}),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXES)
def test_where_channels_get_mixed_or_changed(graph, name):
    expression, arrays = MIXES[name]
    dims = "N, 1, 5" if "Squeeze" in name else "N, A, B, C"
    first = "1" if "Squeeze" in name else "3"
    model = graph(
        f"(float[N, {first}, 1, 5] x) => (float[{dims}] y)", f"y = {expression}", **arrays
    )
    assert Channel(-3, 4).after(model.graph[0]) is None


def test_without_a_rank_nothing_is_followed(graph):
    model = graph("(float[N, 3, 1, 5] x) => (float[A, B, C, D] y)", "y = Transpose(x)")
    assert Channel(-3, None).after(model.graph[0]) is None


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("GlobalMaxPool(x)", Commutes.NOT_NEGATIVE),
        ("GlobalAveragePool(x)", Commutes.ALL),
        ("AveragePool<kernel_shape = [1, 2], pads = [0, 1, 0, 1]>(x)", Commutes.ALL),
        ("LpPool<kernel_shape = [1, 1]>(x)", None),
    ],
)
def test_what_may_change_places(graph, expression, expected):
    model = graph("(float[N, 3, 1, 5] x) => (float[A, B, C, D] y)", f"y = {expression}")
    assert commutes(model.graph[0]) == expected
