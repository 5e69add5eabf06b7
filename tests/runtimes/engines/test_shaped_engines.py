"""OpenCV and tract: fixed sizes, precisions, and refusals that name the node."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from runtimes import DataError, ModelError, RuntimeUnavailable, open_runtime
from runtimes.engines.failing_node import first_failing_node
from runtimes.engines.tract_trial import TractPanicked, try_in_a_process

Graph = Callable[[str], ir.Model]

SHAPED = ("opencv", "opencv-classic", "tract")
MODULES = {"opencv": "cv2", "opencv-classic": "cv2", "tract": "tract"}


def numbers(count: int) -> str:
    return ", ".join(f"{v:.3f}" for v in np.random.default_rng(count).standard_normal(count))


CONV = (
    f"g (float[N, 2, H, W] x) => (float[N, 4, H, W] y) <float[4, 2, 3, 3] w = {{{numbers(72)}}}>"
    "{ [conv] a = Conv<pads = [1, 1, 1, 1]>(x, w)\n [relu] y = Relu(a) }"
)

LSTM = (
    "g (float[5, N, 3] x) => (float[1, N, 4] h)"
    f" <float[1, 16, 3] w = {{{numbers(48)}}}, float[1, 16, 4] r = {{{numbers(64)}}}>"
    "{ [lstm] unused, h = LSTM<hidden_size = 4>(x, w, r) }"
)

INT8 = (
    "g (float[N, 3] x) => (float[N, 2] y)"
    " <float s = {0.1}, uint8 z = {128}, int8[3, 2] w = {1, 2, 3, 4, 5, 6}, float v = {0.01}>"
    "{ q = QuantizeLinear(x, s, z)\n d = DequantizeLinear(q, s, z)\n e = DequantizeLinear(w, v)\n"
    " [dense] y = MatMul(d, e) }"
)


@pytest.fixture(params=SHAPED)
def provider(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(MODULES[request.param])
    return str(request.param)


def same_as_onnxruntime(model: ir.Model, provider: str, *shapes: tuple[int, ...]) -> None:
    with open_runtime(model) as first, open_runtime(model, provider) as other:
        for shape in shapes:
            x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
            for name, want in first.run({"x": x}).items():
                np.testing.assert_allclose(other.run({"x": x})[name], want, rtol=1e-4, atol=1e-5)


def test_every_set_of_sizes_is_right_and_an_earlier_one_again(graph: Graph, provider: str) -> None:
    shapes = [(1, 2, 8, 8), (3, 2, 8, 8), (1, 2, 12, 7), (2, 2, 9, 9), (1, 2, 8, 8)]
    same_as_onnxruntime(graph(CONV), provider, *shapes)


def test_an_lstm_runs_at_any_batch(graph: Graph, provider: str) -> None:
    same_as_onnxruntime(graph(LSTM), provider, (5, 1, 3), (5, 3, 3))


def test_an_output_without_a_name_runs_or_is_refused(graph: Graph, provider: str) -> None:
    model = graph(LSTM)
    model.graph[0].outputs[0].name = ""
    if provider != "tract":
        same_as_onnxruntime(model, provider, (5, 1, 3), (5, 3, 3))
        return
    with (
        open_runtime(model, provider) as runtime,
        pytest.raises(ModelError, match=r"node 'lstm' \(LSTM\): tract ends the process where"),
    ):
        runtime.run({"x": np.zeros((5, 1, 3), np.float32)})


def test_the_precision_that_ran_is_told_by_layer(graph: Graph, provider: str) -> None:
    with open_runtime(graph(CONV), provider) as runtime:
        assert set(runtime.placement.precisions) == {"f32"}
        assert any("conv" in layer.layer for layer in runtime.placement.layers)
    with open_runtime(graph(INT8), provider) as runtime:
        found = runtime.placement.precisions
        assert {"i8", "u8"} & set(found), found
        assert " layers in " in str(runtime.placement)


def test_an_unknown_operator_is_refused_by_name(graph: Graph, provider: str) -> None:
    model = graph(
        "g (float[N, 2] x) => (float[N, 2] y)"
        "{ [first] a = Neg(x)\n [odd] b = local.Sparkle(a)\n [last] y = Neg(b) }"
    )
    with pytest.raises(ModelError, match=r"not load in .*: node 'odd' \((local\.)?Sparkle\): "):
        open_runtime(model, provider)


def test_sizes_that_do_not_go_together_name_the_node(graph: Graph, provider: str) -> None:
    model = graph("g (float[N] a, float[M] b) => (float[K] y) { c = Neg(a)\n [sum] y = Add(c, b) }")
    with open_runtime(model, provider) as runtime:
        feed = {"a": np.ones(2, np.float32), "b": np.ones(3, np.float32)}
        with pytest.raises(ModelError, match=r"failed when it ran in .*: node 'sum' \(Add\): "):
            runtime.run(feed)


def test_what_is_tried_at_first_neither_divides_by_zero_nor_stays(
    graph: Graph, provider: str
) -> None:
    model = graph("g (int32[N] a, int32[N] b) => (int32[N] y) { y = Div(a, b) }")
    with open_runtime(model, provider) as runtime:
        feed = {"a": np.int32([6]), "b": np.int32([3])}
        assert runtime.run(feed)["y"].tolist() == [2]
    reduced = graph(
        "g (float[2, 3] x, int64[1] axes) => (float[K] y) { y = ReduceSum<keepdims = 0>(x, axes) }"
    )
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    try:
        runtime = open_runtime(reduced, provider)
    except ModelError:
        return  # it insists on constant axes, and says so
    with runtime:
        assert runtime.run({"x": x, "axes": np.int64([0])})["y"].tolist() == [3, 5, 7]


def test_what_is_not_installed_is_said_with_its_extra(
    graph: Graph, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, MODULES[provider], None)
    extra = provider.removesuffix("-classic")
    with pytest.raises(RuntimeUnavailable, match=f"the extra '{extra}' brings it: pip"):
        open_runtime(graph(CONV), provider)


def test_opencv_takes_no_empty_arrays(graph: Graph) -> None:
    pytest.importorskip("cv2")
    with (
        open_runtime(graph(CONV), "opencv") as runtime,
        pytest.raises(DataError, match="OpenCV takes no empty array, and 'x' is one"),
    ):
        runtime.run({"x": np.zeros((0, 2, 8, 8), np.float32)})


def test_the_classic_engine_refuses_integers_that_it_would_cut(graph: Graph) -> None:
    pytest.importorskip("cv2")
    model = graph("g (int64[N] n) => (int64[N] m) { m = Add(n, n) }")
    with open_runtime(model, "opencv-classic") as runtime:
        assert runtime.run({"n": np.int64([3])})["m"].dtype == np.int64
        with pytest.raises(DataError, match="integers in 32 bits, and 'n' holds larger ones"):
            runtime.run({"n": np.int64([2**40])})


def test_opencv_counts_threads_and_tract_has_one(graph: Graph) -> None:
    cv2 = pytest.importorskip("cv2")
    with open_runtime(graph(CONV), "opencv", threads=2) as runtime:
        assert runtime.threads == 2
        assert cv2.getNumThreads() == 2
    pytest.importorskip("tract")
    with open_runtime(graph(CONV), "tract", threads=None) as runtime:
        assert runtime.threads == 1
    with pytest.raises(RuntimeUnavailable, match="one thread, not on 2: give --threads 1"):
        open_runtime(graph(CONV), "tract", threads=2)


def test_a_process_that_ends_is_told_from_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "thread 'x' panicked at a.rs:1:2:\ncalled unwrap on None\nstack backtrace:"
    answers: list[Any] = [
        SimpleNamespace(returncode=-6, stderr=said),
        SimpleNamespace(returncode=-9, stderr=""),
        SimpleNamespace(returncode=0, stderr=""),
    ]
    monkeypatch.setattr(sys.modules["subprocess"], "run", lambda *args, **options: answers.pop(0))
    with pytest.raises(TractPanicked, match="tract ends the process: called unwrap on None"):
        try_in_a_process(tmp_path, ((1, 2),), ["<f4"])
    with pytest.raises(TractPanicked, match="it ends with code -9"):
        try_in_a_process(tmp_path, ((1, 2),), ["<f4"])
    try_in_a_process(tmp_path, ((1, 2),), ["<f4"])


def test_a_failing_node_before_a_branch_is_found(graph: Graph) -> None:
    """What a branch of an If reads from outside belongs to the If."""
    model = graph(
        "g (float[2] x, bool p) => (float[2] y) { [odd] a = Abs(x)\n b = Neg(a)\n"
        "y = If(p)<then_branch = t () => (float[2] c) { c = Neg(b) },"
        "else_branch = e () => (float[2] d) { d = Abs(a) }> }"
    )
    found = first_failing_node(model, lambda part: any(node.name == "odd" for node in part.graph))
    assert found is model.graph[0]


@pytest.mark.parametrize("bad", ["a", "b", "c"])
def test_the_failing_node_is_found_by_halving(graph: Graph, bad: str) -> None:
    model = graph(
        "g (float[2] x) => (float[2] c) { [a] a = Neg(x)\n [b] b = Abs(a)\n [c] c = Neg(b) }"
    )
    asked: list[int] = []

    def fails(part: ir.Model) -> bool:
        names = [node.name for node in part.graph]
        asked.append(len(names))
        assert all(value.shape is not None for value in part.graph.outputs)
        return bad in names

    found = first_failing_node(model, fails)
    assert found is not None
    assert found.name == bad
    assert asked[0] == 3
    assert first_failing_node(model, lambda part: False) is None
