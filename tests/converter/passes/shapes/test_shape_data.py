from __future__ import annotations

import numpy as np
import pytest

from converter.passes.shapes.infer_shapes import InferShapes
from converter.passes.shapes.shape_data import Contents, Dimension, ShapeData, dimensions

N = Dimension("N")
K0, K1, K2 = np.array(0), np.array([1]), np.array([1, 2])
CASES = {
    "Shape": ("z = Shape(x)", {}, Contents((N, 4, 5))),
    "Shape end": ("z = Shape<start = -2, end = -1>(x)", {}, Contents((4,))),
    "Gather": ("s = Shape(x) z = Gather(s, k)", {"k": K2}, Contents((4, 5))),
    "Gather scalar": ("s = Shape(x) z = Gather(s, k)", {"k": K0}, Contents((N,), scalar=True)),
    "Slice": ("s = Shape(x) z = Slice(s, k, e)", {"k": K1, "e": np.array([9])}, Contents((4, 5))),
    "Slice step": (
        "s = Shape(x) z = Slice(s, k, e, a, t)",
        {"k": np.array([-1]), "e": np.array([-9]), "a": np.array([0]), "t": np.array([-2])},
        Contents((5, N)),
    ),
    "Cast": ("s = Shape(x) z = Cast<to = 6>(s)", {}, Contents((N, 4, 5))),
    "Concat": ("s = Shape(x) z = Concat<axis = 0>(s, k)", {"k": K1}, Contents((N, 4, 5, 1))),
    "Squeeze": (
        "s = Shape<end = 1>(x) z = Squeeze(s)", {}, Contents((N,), scalar=True)),
    "Unsqueeze": (
        "s = Shape<end = 1>(x) q = Squeeze(s) z = Unsqueeze(q, k)",
        {"k": np.array([0])},
        Contents((N,)),
    ),
    "Reshape": ("s = Shape<end = 1>(x) z = Reshape(s, k)", {"k": np.array([], np.int64)},
                Contents((N,), scalar=True)),
    "Mul": ("s = Shape(x) z = Mul(s, k)", {"k": np.array([1, 3, 0])}, Contents((N, 12, 0))),
    "Add": ("s = Shape(x) z = Add(s, k)", {"k": np.array([0, 3, -1])}, Contents((N, 7, 4))),
    "Add unknown": ("s = Shape(x) z = Add(s, k)", {"k": K1}, Contents((None, 5, 6))),
    "Sub": ("s = Shape(x) z = Sub(s, s)", {}, Contents((0, 0, 0))),
    "Div": ("s = Shape(x) z = Div(s, k)", {"k": np.array([1, -3, 2])}, Contents((N, -1, 2))),
    "Size": ("z = Size(x)", {}, Contents((None,), scalar=True)),
    "ReduceProd": ("s = Shape<start = 1>(x) z = ReduceProd<keepdims = 0>(s)", {},
                   Contents((20,), scalar=True)),
    "ReduceProd of one": ("s = Shape<end = 1>(x) z = ReduceProd(s)", {}, Contents((N,))),
}  # fmt: skip


def contents(graph, body, arrays):
    kind = "int32" if "to = 6" in body else "int64"
    model = graph(f"(float[N, 4, 5] x) => ({kind}[?] z)", body, **arrays)
    model.graph.outputs[0].shape = None
    InferShapes()(model)
    return ShapeData().contents(model.graph.outputs[0])


@pytest.mark.parametrize("name", CASES)
def test_contents(graph, name):
    body, arrays, expected = CASES[name]
    assert contents(graph, body, arrays) == expected


@pytest.mark.parametrize(
    ("body", "arrays"),
    [
        ("s = Shape(x) f = Cast<to = 1>(s) z = Cast<to = 7>(f)", {}),
        ("s = Shape(x) z = Gather(s, k)", {"k": np.array([7])}),
        ("z = NonZero(x)", {}),
        ("s = Shape(x) z = Add(s, k)", {"k": np.zeros(100, np.int64)[:2]}),
    ],
)
def test_what_is_not_understood_is_unknown(graph, body, arrays):
    model = graph("(float[N, 4, 5] x) => (int64[?] z)", body, **arrays)
    assert ShapeData().contents(model.graph.outputs[0]) is None


def test_a_dimension_without_name_equals_itself_only(graph):
    model = graph("(float[?, 4] x, float[?, 4] w) => (float[?, 4] y)", "y = Relu(x)")
    first, second = (dimensions(value) for value in model.graph.inputs)
    assert first == dimensions(model.graph.inputs[0])
    assert first != second
    assert not first[0].has_name


def test_a_long_chain_does_not_exhaust_the_stack(graph):
    body = "s0 = Shape(x) " + " ".join(f"s{i + 1} = Identity(s{i})" for i in range(3000))
    model = graph("(float[2, 3] x) => (int64[2] z)", f"{body} z = Identity(s3000)")
    assert ShapeData().contents(model.graph.outputs[0]).numbers() == (2, 3)
