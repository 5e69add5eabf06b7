from __future__ import annotations

import numpy as np
import pytest

from runtimes.onnx_graph.fold_pads import FoldPads


def normal(*shape):
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def padded(graph, body, pads=(0, 0, 1, 0, 0, 0, 2, 3), **arrays):
    if "w)" in body:
        arrays["w"] = normal(4, 3, 3, 3)
    return graph("(float[N, 3, 8, 8] x) => (float[N, C, H, W] y)", body,
                 pads=np.array(pads), **arrays)  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        "p = Pad(x, pads) y = Conv(p, w)",
        "p = Pad(x, pads) y = Conv<pads = [1, 2, 0, 1], strides = [2, 2]>(p, w)",
        'p = Pad(x, pads, zero) y = Conv<auto_pad = "VALID">(p, w)',
        'p = Pad<mode = "constant">(x, pads) y = Conv<dilations = [2, 1]>(p, w)',
    ],
)
def test_zeros_before_a_convolution(graph, check_pass, ops, body):
    arrays = {"zero": np.float32(0)} if "zero" in body else {}
    model = padded(graph, body, **arrays)
    assert check_pass(FoldPads(), model).modified
    assert ops(model) == ["Conv"]
    assert set(model.graph.initializers) == {"w"}


def test_axes_of_the_padding_may_be_named(graph, check_pass, ops):
    model = padded(graph, "p = Pad(x, pads, , axes) y = Conv(p, w)", pads=(1, 2, 3, 0),
                   axes=np.array([-1, 2]))  # fmt: skip
    assert check_pass(FoldPads(), model).modified
    assert ops(model) == ["Conv"]


def test_zeros_before_a_maximum_of_what_is_not_negative(graph, check_pass, ops):
    model = padded(graph, "r = Relu(x) p = Pad(r, pads) y = MaxPool<kernel_shape = [4, 4]>(p)")
    assert check_pass(FoldPads(), model).modified
    assert ops(model) == ["Relu", "MaxPool"]


def test_all_that_follow_take_it_over(graph, check_pass, ops):
    model = padded(
        graph,
        """p = Pad(x, pads) c = Conv<strides = [2, 2]>(p, w) d = Conv<strides = [2, 2]>(p, v)
        y = Add(c, d)""",
        w=normal(4, 3, 3, 3),
        v=normal(4, 3, 3, 3) + 1,
    )
    assert check_pass(FoldPads(), model).modified
    assert ops(model) == ["Conv", "Conv", "Add"]


def test_an_average_counts_the_zeros_as_before(graph, check_pass, ops):
    model = padded(graph, "p = Pad(x, pads) y = AveragePool<kernel_shape = [4, 4]>(p)")
    assert check_pass(FoldPads(), model).modified
    assert ops(model) == ["AveragePool"]


def test_a_pad_with_other_readers_stays_for_them(graph, check_pass, ops):
    model = padded(graph, "p = Pad(x, pads) c = Conv<pads = [1, 1, 1, 1]>(p, w) "
                   "r = ReduceSum(c, axis) s = ReduceSum(p, axis) t = ReduceMax(r, all) "
                   "y = Add(s, t)", axis=np.array([1]), all=np.array([2, 3]))  # fmt: skip
    result = check_pass(FoldPads(), model)
    assert result.modified
    assert ops(model)[:2] == ["Pad", "Conv"]
    assert model.graph.node(1).inputs[0].name == "x"
    assert "used elsewhere" in str(result.refusals[0])
    assert not check_pass(FoldPads(), model).modified


NEAR_MISSES = {
    "average": ("p = Pad(x, pads) y = AveragePool<kernel_shape = [4, 4], pads = [1, 0, 0, 0]>(p)",
                {}, "but not its own"),
    "ones": ("p = Pad(x, pads, one) y = Conv(p, w)", {"one": np.float32(1)}, "pad with zeros"),
    "mode": ('p = Pad<mode = "reflect">(x, pads) y = Conv(p, w)', {}, "pad with zeros"),
    "by rule": ('p = Pad(x, pads) y = Conv<auto_pad = "SAME_UPPER">(p, w)', {}, "auto_pad"),
    "channels": ("p = Pad(x, pads) y = Conv<group = 1>(p, v)",
                 {"pads": (0, 0, 1, 0, 0, 1, 2, 3), "v": normal(4, 4, 3, 3)}, "the channels"),
    "cut": ("p = Pad(x, pads) y = Conv(p, w)", {"pads": (0, 0, -1, 0, 0, 0, 2, 3)}, "it crops"),
    "cut before own": ("p = Pad(x, pads) y = Conv<pads = [1, 0, 0, 0]>(p, w)",
                       {"pads": (0, 0, -1, 0, 0, 0, 0, 0)}, "it crops"),
    "batch": ("p = Pad(x, pads) y = Conv(p, w)", {"pads": (1, 0, 0, 1, 0, 0, 0, 0)}, "the batch"),
    "negative": ("p = Pad(x, pads) y = MaxPool<kernel_shape = [4, 4]>(p)", {}, "are negative"),
    "window": ("r = Relu(x) p = Pad(r, pads) y = MaxPool<kernel_shape = [2, 2]>(p)", {},
               "more than the window"),
}  # fmt: skip


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_near_misses_stay_and_say_why(graph, check_pass, name):
    body, arrays, reason = NEAR_MISSES[name]
    model = padded(graph, body, **arrays)
    result = check_pass(FoldPads(), model)
    assert not result.modified
    assert reason in str(result.refusals[0])
