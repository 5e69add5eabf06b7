"""Channels that land on an axis of places, and rules that are wrong, close what they touch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from converter.pruning.groups.selection import Dependencies
from converter.pruning.operators.table import RULES

Graph = Callable[..., ir.Model]


Find = Callable[[ir.Model], Dependencies]


def ones(*shape: int) -> Any:
    return np.ones(shape, np.float32)


def open_units(dependencies: Dependencies) -> dict[str, int]:
    return {group.name: len(group.units) for group in dependencies.groups if group.is_open}


@pytest.mark.parametrize(
    ("signature", "body", "arrays", "reason"),
    [
        # dense on the last axis of a channels-first map: its units are places of the convolution
        (
            "(float[N, 3, 5, 4] x) => (float[N, 2, 5, 6] y)",
            "a = MatMul(x, w) y = Conv(a, k)",
            {"w": ones(4, 6), "k": ones(2, 3, 1, 1)},
            "axis 3",
        ),
        (
            "(float[N, 3, 4] x) => (float[M, 2, 4] y)",
            "a = MatMul(x, w) b = Transpose<perm = [2, 1, 0]>(a) y = Conv(b, k)",
            {"w": ones(4, 6), "k": ones(2, 3, 1)},
            "axis 0",
        ),
        (
            "(float[N, 5, 4] x) => (float[6, N, 3] y)",
            "a = MatMul(x, w) t = Transpose<perm = [2, 0, 1]>(a) "
            "y, h = RNN<hidden_size = 3>(t, u, v) ",
            {"w": ones(4, 6), "u": ones(1, 3, 5), "v": ones(1, 3, 3)},
            "axis 0",
        ),
        (
            "(float[N, 4, 2, 4] x) => (float[N, 1, 4, 12] y)",
            "a = MatMul(x, w) y = DepthToSpace<blocksize = 2>(a)",
            {"w": ones(4, 6)},
            "axis 3",
        ),
        (
            "(float[N, 3, 5, 4] x) => (float[N, 3, 5, 6] y)",
            "a = MatMul(x, w) y = InstanceNormalization(a, s, s)",
            {"w": ones(4, 6), "s": ones(3)},
            "axis 3",
        ),
        (
            "(float[N, 4] x, float[6] b) => (float[N, 6] y)",
            "c = Gemm(x, w, b) y = Relu(c)",
            {"w": ones(4, 6)},
            "its bias is not a constant",
        ),
    ],
)
def test_what_lands_on_another_axis_stays(
    graph: Graph,
    dependencies_of: Find,
    signature: str,
    body: str,
    arrays: dict[str, Any],
    reason: str,
) -> None:
    if "RNN" in body:
        body = body.replace("y, h", "all, h").rstrip() + " y = Squeeze(all, one)"
        arrays = {**arrays, "one": np.array([1])}
    found = dependencies_of(graph(signature, body, **arrays))
    (group,) = [one for one in found.groups if one.makers[0] in ("MatMul_0", "Gemm_0")]
    assert not group.is_open
    assert reason in str(group.closed_reason)


def test_a_rule_that_is_wrong_about_shapes_closes_what_it_sees(
    graph: Graph, dependencies_of: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(node: ir.Node, record: Any) -> Any:
        axes = record.input_axes(node, 0)
        return [(*axes[:-1], np.concatenate([axes[-1], axes[-1][:1]]))]

    model = graph(
        "(float[N, 3] x) => (float[N, 2] y)",
        "a = MatMul(x, w) b = MatMul(a, v) c = Relu(b) d = Tanh(c) y = MatMul(d, u)",
        w=ones(3, 4),
        v=ones(4, 5),
        u=ones(5, 2),
    )
    assert open_units(dependencies_of(model)) == {"MatMul_0": 4, "MatMul_1": 5}
    monkeypatch.setattr("converter.pruning.groups.walk.RULES", {**RULES, "Tanh": wrong})
    found = dependencies_of(model)
    assert open_units(found) == {"MatMul_0": 4}
    assert "its shapes do not follow" in str(found.groups[1].closed_reason)


def test_a_rule_that_forgets_channels_closes_them(
    graph: Graph, dependencies_of: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = graph(
        "(float[N, 3] x) => (float[N, 4] y)",
        "a = MatMul(x, w) b = Tanh(a) y = Relu(b)",
        w=ones(3, 4),
    )
    monkeypatch.setattr(
        "converter.pruning.groups.walk.RULES",
        {**RULES, "Tanh": lambda node, record: [(None, None)]},
    )
    (group,) = dependencies_of(model).groups
    assert not group.is_open
    assert "nothing says where they go" in str(group.closed_reason)


def test_an_empty_part_forbids_nothing(graph: Graph, dependencies_of: Find) -> None:
    model = graph(
        "(float[N, 3] x) => (float[N, 2] y)",
        "a = MatMul(x, w) e = Slice(a, s, s, one) c = Concat<axis = 1>(e, a) y = MatMul(c, v)",
        w=ones(3, 4),
        v=ones(4, 2),
        s=np.array([2]),
        one=np.array([1]),
    )
    found = dependencies_of(model)
    assert found.leaves_something(found.everything())
    assert open_units(found) == {"MatMul_0": 4}


def test_an_axis_that_would_be_empty_gets_a_unit_back(graph: Graph, dependencies_of: Find) -> None:
    model = graph(
        "(float[N, 3] x) => (float[N, 2] y)",
        "a = MatMul(x, w) p, q = Split<axis = 1, num_outputs = 2>(a) "
        "m = Mul(p, q) y = MatMul(m, v)",
        w=ones(3, 4),
        v=ones(2, 2),
    )
    found = dependencies_of(model)
    (group, _) = found.groups
    none = found.everything().without(group.units)
    assert not found.leaves_something(none)
    kept = found.fill_empty(none, group.units[::-1])
    assert found.leaves_something(kept)
    assert kept.units[group.units[-1]]
    assert np.count_nonzero(kept.units[group.units]) == 1
