from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.passes.fusion.flatten import FoldFlattenedTransposes
from converter.passes.shapes.infer_shapes import InferShapes


def normal(*shape):
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def fold(check_pass, model):
    InferShapes()(model)
    return check_pass(FoldFlattenedTransposes(), model)


@settings(max_examples=30, deadline=None)
@given(
    dims=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    data=st.data(),
    dense=st.sampled_from(["MatMul(f, w)", "Gemm(f, w)", "Gemm<transB = 1>(f, w)"]),
    flatten=st.sampled_from(["Reshape(t, shape)", "Flatten<axis = 1>(t)"]),
)
def test_rows_follow_any_permutation(graph, check_pass, ops, dims, data, dense, flatten):
    perm = [0, *(axis + 1 for axis in data.draw(st.permutations(range(len(dims)))))]
    size = int(np.prod(dims))
    arrays = {"w": normal(5, size) if "transB" in dense else normal(size, 5)}
    if "shape" in flatten:
        arrays["shape"] = np.array([-1, size])
    model = graph(
        f"(float[N, {', '.join(map(str, dims))}] x) => (float[N, 5] y)",
        f"t = Transpose<perm = {perm}>(x) f = {flatten} y = {dense}",
        **arrays,
    )
    assert fold(check_pass, model).modified
    assert "Transpose" not in ops(model)


NEAR_MISSES = {
    "batch": ("t = Transpose<perm = [1, 0, 2, 3]>(x)", "moves the batch"),
    "used": ("t = Transpose<perm = [0, 2, 3, 1]>(x) u = Identity(t)", "used elsewhere"),
    "shared": ("t = Transpose<perm = [0, 2, 3, 1]>(x) z = MatMul(k, w)", "is shared"),
    "other": ("t = Transpose<perm = [0, 2, 1, 3]>(x)", "does not flatten exactly one sample"),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_near_misses_stay_and_say_why(graph, check_pass, name):
    body, reason = NEAR_MISSES[name]
    outputs = "float[A, 5] y"
    if name == "used":
        outputs += ", float[N, 4, 5, 3] u"
    elif name == "shared":
        outputs += ", float[2, 5] z"
    rows = 12 if name == "other" else 60
    arrays = {"k": normal(2, 60)} if name == "shared" else {}
    model = graph(
        f"(float[N, 3, 4, 5] x) => ({outputs})",
        f"{body} f = Reshape(t, shape) y = MatMul(f, w)",
        shape=np.array([-1, rows]),
        w=normal(rows, 5),
        **arrays,
    )
    result = fold(check_pass, model)
    assert not result.modified
    assert reason in str(result.refusals[0])
