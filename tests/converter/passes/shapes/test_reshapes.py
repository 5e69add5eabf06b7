from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.passes.cleanup.clean import Clean
from converter.passes.shapes.infer_shapes import InferShapes
from converter.passes.shapes.reshapes import MergeReshapes


def merge(check_pass, model):
    InferShapes()(model)
    result = check_pass(MergeReshapes(), model)
    Clean()(model)
    return result


PAIRS = {
    "undone": ("a = Unsqueeze(r, k) b = Squeeze(a, k)", "N, 4, 6", {"k": np.array([1])}, 0),
    "reshaped twice": (
        "a = Reshape(r, k) b = Reshape(a, l)", "N, 8, 3",
        {"k": np.array([0, 24]), "l": np.array([0, 8, 3])}, 1),
    "flattened after": (
        "a = Unsqueeze(r, k) b = Flatten(a)", "N, 24", {"k": np.array([3])}, 1),
    "a Transpose of ones": (
        "a = Reshape(r, k) b = Transpose<perm = [0, 3, 1, 2]>(a)", "N, 24, 1, 1",
        {"k": np.array([0, 1, 1, 24])}, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_two_become_one_or_none(graph, check_pass, ops, name):
    body, out, arrays, left = PAIRS[name]
    model = graph(f"(float[N, 4, 6] x) => (float[{out}] y)", f"r = Relu(x) {body} y = Neg(b)",
                  **arrays)  # fmt: skip
    assert merge(check_pass, model).modified
    assert ops(model) == ["Relu", *["Reshape"] * left, "Neg"]


NEAR_MISSES = {
    "used in between": (
        "a = Reshape(r, k) b = Reshape(a, l) c = Reshape(a, m) d = Concat<axis = 1>(b, c)",
        "N, 12, 4",
        {"k": np.array([0, 24]), "l": np.array([0, 6, 4]), "m": np.array([0, 6, 4])}),
    "a Transpose that moves data": (
        "a = Reshape(r, k) d = Transpose<perm = [0, 2, 1]>(a)", "N, 3, 8",
        {"k": np.array([0, 8, 3])}),
    "alone": ("d = Reshape(r, k)", "N, 24", {"k": np.array([0, 24])}),
}  # fmt: skip


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_near_misses_stay(graph, check_pass, name):
    body, out, arrays = NEAR_MISSES[name]
    model = graph(f"(float[N, 4, 6] x) => (float[{out}] y)", f"r = Relu(x) {body} y = Neg(d)",
                  **arrays)  # fmt: skip
    InferShapes()(model)
    assert not check_pass(MergeReshapes(), model).modified


def test_what_gives_back_its_input_goes_even_if_the_first_is_needed(graph, check_pass, ops):
    model = graph(
        "(float[N, 4, 6] x) => (float[N, 4, 6] y, float[N, 24] z)",
        "r = Relu(x) a = Reshape(r, k) b = Reshape(a, l) y = Neg(b) z = Exp(a)",
        k=np.array([0, 24]),
        l=np.array([0, 4, 6]),
    )
    assert merge(check_pass, model).modified
    assert ops(model) == ["Relu", "Reshape", "Neg", "Exp"]


def test_two_unknown_dimensions_that_move_are_left(graph, check_pass):
    model = graph(
        "(float[N, M, 4] x, int64[3] s) => (float[A, B, C] y)",
        "r = Relu(x) a = Unsqueeze(r, k) b = Reshape(a, s) y = Neg(b)",
        k=np.array([0]),
    )
    InferShapes()(model)
    assert not MergeReshapes()(model).modified


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_chain(graph, check_pass, ops, data):
    shape, body, arrays = [3, 4, 1], "v0 = Relu(x)", {}
    count = data.draw(st.integers(1, 5))
    for index in range(count):
        kind = data.draw(st.sampled_from(["Reshape", "Squeeze", "Unsqueeze", "Transpose"]))
        ones = [axis for axis, dim in enumerate(shape) if dim == 1]
        k = f"k{index}"
        if kind == "Transpose":
            perm = data.draw(st.permutations(range(len(shape))))
            shape = [shape[axis] for axis in perm]
            body += f" v{index + 1} = Transpose<perm = {perm}>(v{index})"
            continue
        if kind == "Squeeze" and ones:
            arrays[k] = np.array([data.draw(st.sampled_from(ones))])
            del shape[arrays[k][0]]
        elif kind == "Unsqueeze" and len(shape) < 6:
            arrays[k] = np.array([data.draw(st.integers(0, len(shape)))])
            shape.insert(arrays[k][0], 1)
        else:
            kind = "Reshape"
            shape = data.draw(st.sampled_from([[12], [2, 6], [3, 1, 4], [1, 12, 1]]))
            arrays[k] = np.array(shape)
        body += f" v{index + 1} = {kind}(v{index}, {k})"
    dims = ", ".join(map(str, shape))
    model = graph(f"(float[3, 4, 1] x) => (float[{dims}] y)", f"{body} y = Neg(v{count})", **arrays)
    merge(check_pass, model)
    if "Transpose" not in body:
        assert len(ops(model)) <= 3
