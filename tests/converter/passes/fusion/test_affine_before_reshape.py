"""Scales and biases behind a split into heads move in front of it, and fold from there."""

from __future__ import annotations

import numpy as np
import pytest

from converter.passes.fusion.affine_before_reshape import MoveAffineBeforeReshape
from converter.passes.shapes.infer_shapes import InferShapes
from converter.passes.standard import Optimize

RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(5, 12)).astype(np.float32)
HEADS = np.array([0, 0, 3, 4])
SPLIT = "m = MatMul(x, w) r = Reshape(m, k)"


def numbers(*shape):
    return np.asarray(RNG.normal(size=shape) + 2, np.float32)


def moved(check_pass, model):
    InferShapes()(model)
    return check_pass(MoveAffineBeforeReshape(), model)


MOVED = {
    "a number": (f"{SPLIT} y = Mul(r, c)", "N, 2, 3, 4", {"c": numbers()}),
    "a number of rank four": (f"{SPLIT} y = Mul(r, c)", "N, 2, 3, 4", {"c": numbers(1, 1, 1, 1)}),
    "one for each channel": (f"{SPLIT} y = Add(c, r)", "N, 2, 3, 4", {"c": numbers(3, 4)}),
    "one for each head": (f"{SPLIT} y = Mul(r, c)", "N, 2, 3, 4", {"c": numbers(3, 1)}),
    "one for each place": (f"{SPLIT} y = Div(r, c)", "N, 2, 3, 4", {"c": numbers(1, 4)}),
    "constant on the left": (f"{SPLIT} y = Sub(c, r)", "N, 2, 3, 4", {"c": numbers(3, 4)}),
    "behind a Transpose": (
        f"{SPLIT} t = Transpose<perm = [0, 2, 3, 1]>(r) y = Mul(t, c)", "N, 3, 4, 2",
        {"c": numbers(3, 4, 1)}),
    "behind two Transposes": (
        f"{SPLIT} t = Transpose<perm = [0, 2, 3, 1]>(r) u = Transpose<perm = [1, 3, 0, 2]>(t) "
        "y = Mul(u, c)", "3, 2, N, 4", {"c": numbers(3, 1, 1, 4)}),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVED)
def test_moves_before_the_split(graph, check_pass, ops, name):
    body, out, arrays = MOVED[name]
    model = graph(f"(float[N, 2, 5] x) => (float[{out}] y)", body, w=WEIGHT, k=HEADS, **arrays)
    operator = ops(model)[-1]
    result = moved(check_pass, model)
    assert result.modified
    assert result.refusals == ()
    assert ops(model)[:3] == ["MatMul", operator, "Reshape"]
    assert not moved(check_pass, model).modified


def test_a_bias_and_a_scale_fold_together(graph, check_pass, ops):
    body = f"{SPLIT} b = Add(r, c) s = Mul(b, d) y = Transpose<perm = [0, 2, 1, 3]>(s)"
    arrays = {"c": numbers(3, 4), "d": np.float32(0.5)}
    model = graph("(float[N, 2, 5] x) => (float[N, 3, 2, 4] y)", body, w=WEIGHT, k=HEADS, **arrays)
    check_pass(Optimize(), model)
    assert ops(model) == ["MatMul", "Add", "Reshape", "Transpose"]
    assert not Optimize()(model).modified


def test_where_other_axes_are_merged_too(graph, check_pass, ops):
    model = graph("(float[4, 2, 5] x) => (float[8, 3, 4] y)", f"{SPLIT} y = Mul(r, c)",
                  w=WEIGHT, k=np.array([8, 3, 4]), c=numbers(3, 4))  # fmt: skip
    assert moved(check_pass, model).modified
    assert ops(model) == ["MatMul", "Mul", "Reshape"]


REFUSED = {
    "along another axis": (
        f"{SPLIT} y = Mul(r, c)", "float[N, 2, 3, 4] y", {"c": numbers(2, 1, 1)},
        "varies along an axis that was not split from the last one"),
    "the result is an output": (
        f"{SPLIT} y = Mul(r, c)", "float[N, 2, 3, 4] y, float[N, 2, 3, 4] r", {"c": numbers()},
        "'r' is an output of the graph too"),
    "the result is used elsewhere": (
        f"{SPLIT} y = Mul(r, c) z = Neg(r)", "float[N, 2, 3, 4] y, float[N, 2, 3, 4] z",
        {"c": numbers()}, "'r' is used elsewhere too"),
    "the constant widens the data": (
        f"{SPLIT} y = Mul(r, c)", "float[1, N, 2, 3, 4] y", {"c": numbers(1, 1, 1, 3, 4)},
        "more dimensions than the data"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(graph, check_pass, name):
    body, out, arrays, reason = REFUSED[name]
    model = graph(f"(float[N, 2, 5] x) => ({out})", body, w=WEIGHT, k=HEADS, **arrays)
    result = moved(check_pass, model)
    assert not result.modified
    assert [reason in refusal.reason for refusal in result.refusals] == [True]


LEFT_ALONE = {
    "nothing linear before": "m = Relu(x) r = Reshape(m, k) y = Mul(r, c)",
    "something else in between": "m = MatMul(x, w) e = Relu(m) r = Reshape(e, k) y = Mul(r, c)",
    "the linear result is used elsewhere":
        "m = MatMul(x, w) r = Reshape(m, k) s = Mul(r, c) f = Reshape(m, k) y = Add(s, f)",
    "no constant": "m = MatMul(x, w) r = Reshape(m, k) y = Mul(r, r)",
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_near_misses_stay(graph, check_pass, name):
    body = LEFT_ALONE[name]
    arrays = {"w": RNG.normal(size=(12, 12)).astype(np.float32), "k": HEADS, "c": numbers()}
    arrays = {key: value for key, value in arrays.items() if f" {key})" in body}
    model = graph("(float[N, 2, 12] x) => (float[N, 2, 3, 4] y)", body, **arrays)
    result = moved(check_pass, model)
    assert not result.modified
    assert result.refusals == ()
