from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.passes.fusion.merge_affine import MergeAffine
from converter.passes.shapes.infer_shapes import InferShapes


def positive(*shape):
    rng = np.random.default_rng(shape)
    return (np.abs(rng.normal(size=shape)) + 0.5).astype(np.float32)


def merge(check_pass, model, **options):
    InferShapes()(model)
    return check_pass(MergeAffine(), model, **options)


def test_mul_and_add_on_the_second_axis_become_one_batch_normalization(graph, check_pass, ops):
    model = graph(
        "(float[N, 3, 4, 4] x) => (float[N, 3, 4, 4] y)",
        "m = Mul(x, k) a = Add(m, b) y = Relu(a)",
        k=positive(1, 3, 1, 1),
        b=positive(3, 1, 1),
    )
    assert merge(check_pass, model).modified
    assert ops(model) == ["BatchNormalization", "Relu"]
    assert not merge(check_pass, model).modified


SHAPES = {
    "last": ("N, 4, 3", lambda: positive(3)),
    "second": ("N, 3, 4", lambda: positive(3, 1)),
    "matrix": ("N, 3", lambda: positive(3)),
    "first": ("3, 4, 5", lambda: positive(3, 1, 1)),
}


@settings(max_examples=60, deadline=None)
@given(
    layout=st.sampled_from(sorted(SHAPES)),
    links=st.lists(
        st.tuples(st.sampled_from(["Mul", "Add", "Sub", "Div"]), st.booleans()),
        min_size=1,
        max_size=5,
    ),
)
def test_any_chain_becomes_as_short_as_it_can(graph, check_pass, ops, layout, links):
    dims, constant = SHAPES[layout]
    arrays, body = {}, ""
    for index, (link, one) in enumerate(links):
        # Squares: no links cancel each other, as those of equal steps would.
        arrays[f"k{index}"] = (positive(1) if one else constant()) + np.float32(0.1 * index**2)
        body += f" v{index + 1} = {link}({'x' if index == 0 else f'v{index}'}, k{index})"
    body += f" y = Abs(v{len(links)})"
    model = graph(f"(float[{dims}] x) => (float[{dims}] y)", body, **arrays)
    merge(check_pass, model, tolerance=1e-4)
    scales = any(link in ("Mul", "Div") for link, _ in links)
    adds = any(link in ("Add", "Sub") for link, _ in links)
    wide = any(not one for _, one in links)
    two_nodes = scales and adds and not (layout == "second" and wide)
    assert len(ops(model)) == (3 if two_nodes else 2)


NEAR_MISSES = {
    "used in between": "m = Mul(x, k) a = Add(m, k) y = Div(a, m)",
    "another axis": "m = Mul(x, k) y = Mul(m, v)",
    "widens": "m = Mul(x, k) y = Mul(m, wide)",
    "alone": "y = Mul(x, k)",
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_near_misses_stay(graph, check_pass, name):
    body = NEAR_MISSES[name]
    arrays = {"k": positive(3, 1, 1), "v": positive(4), "wide": positive(2, 1, 1, 1, 1)}
    used = {key: value for key, value in arrays.items() if f", {key})" in body}
    out = "float[2, N, 3, 4, 4] y" if "wide" in body else "float[N, 3, 4, 4] y"
    model = graph(f"(float[N, 3, 4, 4] x) => ({out})", body, **used)
    assert not merge(check_pass, model).modified


def test_a_product_that_the_type_cannot_hold_is_refused(graph, check_pass):
    model = graph(
        "(float16[N, 3, 4, 4] x) => (float16[N, 3, 4, 4] y)",
        "m = Mul(x, k) y = Mul(m, l)",
        k=np.full((3, 1, 1), 6e4, np.float16),
        l=np.full((3, 1, 1), 6e4, np.float16),
    )
    InferShapes()(model)
    result = MergeAffine()(model)
    assert not result.modified
    assert "do not fit FLOAT16" in str(result.refusals[0])
