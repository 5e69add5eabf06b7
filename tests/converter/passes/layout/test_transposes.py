from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.passes.layout.transposes import MergeTransposes

PERMS = st.permutations(range(4))


@settings(max_examples=40, deadline=None)
@given(st.lists(PERMS, min_size=1, max_size=4))
def test_any_chain_becomes_one_or_none(graph, check_pass, ops, perms):
    body, shape = "v0 = Relu(x)", np.array([2, 3, 4, 5])
    for index, perm in enumerate(perms):
        body += f" v{index + 1} = Transpose<perm = {perm}>(v{index})"
        shape = shape[perm]
    dims = ", ".join(map(str, shape))
    model = graph(f"(float[2, 3, 4, 5] x) => (float[{dims}] y)", f"{body} y = Neg(v{len(perms)})")
    assert check_pass(MergeTransposes(), model).modified == (len(perms) > 1)
    assert ops(model).count("Transpose") <= 1


def test_a_first_one_that_is_needed_stays(graph, check_pass, ops):
    model = graph(
        "(float[2, 3] x) => (float[2, 3] y, float[3, 2] z)",
        "t = Transpose(x) u = Transpose(t) y = Relu(u) z = Neg(t)",
    )
    for node in model.graph:
        node.inputs[0].shape = node.inputs[0].shape or ir.Shape([3, 2])
    assert check_pass(MergeTransposes(), model).modified
    assert ops(model) == ["Transpose", "Relu", "Neg"]


def test_an_input_does_not_become_an_output(graph, check_pass, ops):
    model = graph("(float[2, 3] x) => (float[2, 3] y)",
                  "t = Transpose<perm = [1, 0]>(x) y = Transpose<perm = [1, 0]>(t)")  # fmt: skip
    check_pass(MergeTransposes(), model)
    assert ops(model) == ["Transpose"]
    assert list(model.graph[0].attributes.get_ints("perm")) == [0, 1]


@pytest.mark.parametrize("other", ["Relu", "Identity"])
def test_only_transposes_in_a_row(graph, check_pass, other):
    swap = "Transpose<perm = [1, 0]>"
    model = graph(
        "(float[2, 3] x) => (float[2, 3] y)", f"t = {swap}(x) r = {other}(t) y = {swap}(r)"
    )
    assert not check_pass(MergeTransposes(), model).modified
