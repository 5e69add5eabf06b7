from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from converter.passes import Optimize, optimize


def normal(*shape):
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


@pytest.fixture
def block(graph):
    """A depthwise convolution as exporters write it: kernel layout, BatchNorm as Mul and Add."""

    def build():
        return graph(
            "(float[N, 3, 8, 8] x) => (float[N, 3, 8, 8] y)",
            """r = Reshape(kernel, shape) w = Transpose<perm = [3, 2, 0, 1]>(r)
            c = Conv<group = 3, pads = [1, 1, 1, 1]>(x, w)
            half = Constant<value_float = 0.5>()
            m = Mul(c, scale) a = Add(m, offset) h = Mul(a, half) i = Identity(h) y = Relu(i)""",
            kernel=normal(3, 3, 3, 1),
            shape=np.array([3, 3, 1, 3]),
            scale=normal(3, 1, 1),
            offset=normal(3, 1, 1),
        )

    return build


def test_a_block_becomes_two_nodes(block, check_pass, ops):
    model = block()
    result = check_pass(Optimize(), model)
    assert result.modified
    assert ops(model) == ["Conv", "Relu"]
    assert set(model.graph.initializers) == {"w", "w_bias"}


def test_running_again_changes_nothing(block, check_pass):
    model = optimize(block())
    assert not check_pass(Optimize(), model).modified


def test_equal_models_give_equal_bytes(block):
    first, second = (ir.to_proto(optimize(block())) for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )


def test_it_changes_the_model_that_it_gets(block):
    model = block()
    assert optimize(model) is model


def test_what_stays_is_listed(graph):
    model = graph(
        "(float[N, 3, 8, 8] x) => (float[N, 4, 8, 8] y, float[N, 4, 8, 8] c)",
        "c = Conv(x, w) y = Mul(c, k)",
        w=normal(4, 3, 1, 1),
        k=normal(4, 1, 1),
    )
    refusals = Optimize()(model).refusals
    assert [str(refusal) for refusal in refusals] == [
        "FoldAffineIntoPrecedingLinear: Mul y: its input 'c' is an output of the graph too"
    ]


def test_it_prints_its_sequence():
    assert repr(Optimize()).startswith("Optimize(Clean(), FoldConstants(max_growth_bytes=65536, ")
