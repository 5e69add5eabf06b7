"""Where the time goes: what is counted and how it is joined; never how long it took."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from random_graphs import Builder

from runtimes import ModelError, profile
from runtimes.onnx_graph.flops import moved_bytes, multiplies, operations
from runtimes.onnx_graph.layer_names import LAYER_KEY
from runtimes.profiling.memory import peak_memory
from runtimes.profiling.operators import profile_operators
from runtimes.profiling.roofline import Roof, measure_roof
from runtimes.profiling.timing import overhead

Graph = Callable[[str], ir.Model]
ROOF = Roof(100.0, 10.0)


def test_operations_are_counted_from_shapes() -> None:
    assert operations("Conv", [(1, 3, 8, 8), (16, 3, 3, 3)], [(1, 16, 8, 8)]) == 2 * 16 * 64 * 27
    depthwise = operations("Conv", [(1, 16, 8, 8), (16, 1, 3, 3)], [(1, 16, 8, 8)])
    assert depthwise == 2 * 16 * 64 * 9
    quantized = [(1, 8, 8, 3), (), (), (16, 3, 3, 3)]
    assert operations("QLinearConv", quantized, [(1, 8, 8, 16)]) == 2 * 16 * 64 * 27
    assert operations("MatMul", [(4, 5, 6), (6, 7)], [(4, 5, 7)]) == 2 * 4 * 5 * 6 * 7
    assert operations("Gemm", [(5, 6), (6, 7)], [(5, 7)]) == 2 * 5 * 6 * 7
    lstm = operations("LSTM", [(9, 2, 5), (1, 16, 5), (1, 16, 4)], [(9, 1, 2, 4)])
    assert lstm == 2 * 9 * 2 * 4 * 4 * (5 + 4)
    state_only = operations("GRU", [(9, 2, 5)], [(2, 2, 4)])
    assert state_only == 2 * 9 * 2 * 2 * 3 * 4 * (5 + 4)
    assert operations("Relu", [(3, 4)], [(3, 4)]) == 12
    assert operations("Transpose", [(3, 4)], [(4, 3)]) == 0
    assert moved_bytes([("float", (3, 4)), ("uint8", (5,))], [("int64", (2,))]) == 48 + 5 + 16
    assert multiplies("QLinearConv")
    assert not multiplies("Add")


def test_the_roof_has_a_ridge() -> None:
    assert ROOF.ridge == 10
    assert ROOF.memory_bound(operations=9, moved=1)
    assert not ROOF.memory_bound(operations=11, moved=1)
    found = measure_roof(threads=1)
    assert found.gflops > 0.1
    assert found.gigabytes_per_s > 0.1


def small(graph: Graph) -> ir.Model:
    weights = ", ".join(map(str, np.random.default_rng(0).standard_normal(4 * 3 * 9)))
    model = graph(
        "g (float[n, 3, 8, 8] x) => (float[n, 4, 8, 8] y)"
        f"<float[4, 3, 3, 3] w = {{{weights}}}, float[4, 1, 1] k = {{1, 2, 3, 4}}> {{"
        " [first_Conv] a = Conv<pads = [1, 1, 1, 1]>(x, w)\n [first_Relu] b = Relu(a)\n"
        " [second_Mul] c = Mul(b, k)\n [second_Exp] y = Exp(c) }"
    )
    for node in model.graph:
        node.metadata_props[LAYER_KEY] = str(node.name).partition("_")[0]
    return model


def test_operators_are_joined_to_layers(graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    ir.save(small(graph), path)
    feed = {"x": np.ones((2, 3, 8, 8), np.float32)}
    report = profile_operators(path, feed, threads=1, runs=3, roof=ROOF)
    assert report.batch == 2
    assert report.nodes == 4
    by_layer = dict(report.by_layer())
    assert {"first", "second"} <= by_layer.keys()
    conv = next(one for one in report.operators if one.op_type in ("Conv", "FusedConv"))
    assert conv.layer == "first"
    assert conv.precision == "float32"
    assert conv.provider == "CPUExecutionProvider"
    assert conv.operations == 2 * 2 * 4 * 64 * 27
    assert set(conv.fused_nodes) == {"first_Conv", "first_Relu"}  # the Relu is part of it
    assert report.fused >= 1
    assert report.stayed_float == ()
    assert sum(one.share for one in report.operators) == pytest.approx(1)
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert len(document["operators"]) == len(report.operators)
    rows = report.rows(2)
    assert len(rows) == 2
    assert {"layer", "GFLOP/s", "bound by"} <= rows[0].keys()


def test_weights_that_the_profiler_leaves_out_are_counted() -> None:
    rng = np.random.default_rng(0)
    build = Builder(0)
    x = build.input([1, 4, 5, 5])
    first = build.op("ConvTranspose", x, build.weight(4, 6, 3, 3), build.weight(6))
    second = build.op("ConvTranspose", first, build.weight(6, 5, 3, 3))
    mean = build.op("ReduceMean", second, build.ints(2, 3), keepdims=0)
    model = build.model(build.op("Gemm", mean, build.weight(5, 3), build.weight(3)))
    feed = {"x": rng.normal(size=(1, 4, 5, 5)).astype(np.float32)}
    report = profile_operators(model, feed, threads=1, runs=2, roof=ROOF)
    counts = [one.operations for one in report.operators if multiplies(one.op_type)]
    assert counts == [2 * 4 * 25 * 6 * 9, 2 * 6 * 49 * 5 * 9, 2 * 5 * 3]
    sizes = [one.bytes for one in report.operators if one.op_type == "ConvTranspose"]
    assert sizes[0] == 4 * (4 * 25 + 4 * 6 * 9 + 6 + 6 * 49)


def test_what_stays_in_float_in_an_int8_model_is_listed(graph: Graph) -> None:
    weights = ", ".join(map(str, range(1, 17)))
    model = graph(
        "q (float[n, 4] x) => (float[n, 4] y)"
        f"<uint8[4, 4] w = {{{weights}}}, float[4, 4] v = {{{weights}}},"
        " float s = {0.05}, uint8 z = {128}> {"
        " xq = QuantizeLinear(x, s, z)\n xd = DequantizeLinear(xq, s, z)\n"
        " wd = DequantizeLinear(w, s, z)\n [inner] a = MatMul(xd, wd)\n"
        " aq = QuantizeLinear(a, s, z)\n ad = DequantizeLinear(aq, s, z)\n"
        " [outer] y = MatMul(ad, v) }"
    )
    feed = {"x": np.ones((1, 4), np.float32)}
    report = profile_operators(model, feed, threads=1, runs=2, roof=ROOF)
    assert [one.op_type for one in report.operators if one.precision == "int8"]
    assert report.stayed_float == ("outer",)


def test_profile_adds_operators_memory_and_settings_on_request(
    graph: Graph, tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    ir.save(small(graph), path)
    report = profile(path, threads=(1, 2), operators=True, memory=True, min_time=0.01, max_time=0.5)
    assert [(one.batch, one.threads) for one in report.batches] == [(1, 1), (1, 2)]
    assert report.threads is None
    assert report.operators is not None
    assert report.operators.batch == 1
    assert all((one.peak_memory_bytes or 0) > 0 for one in report.batches)
    assert report.load_ms is not None
    assert report.first_run_ms is not None
    assert report.load_ms > 0 < report.first_run_ms
    assert report.against_load_ms is None
    assert report.settings["threads"] == [1, 2]
    assert report.settings["affinity"]
    assert report.rows()[0]["memory"].endswith("MB")


def test_timing_itself_costs_next_to_nothing() -> None:
    ticks = iter(np.arange(10_000) * 1e-7)
    assert overhead(lambda: float(next(ticks)), rounds=50) == pytest.approx(1e-7)


def test_memory_grows_with_the_model_and_failures_are_told(graph: Graph, tmp_path: Path) -> None:
    def padded(size: int) -> Path:
        model = graph(
            "g (float[n, 1] x) => (float[n, k] y) <float[1, 1] one = {1}> { y = MatMul(x, one) }"
        )
        big = ir.tensor(np.ones((1, size), np.float32), name="one")
        model.graph.initializers["one"].const_value = big
        model.graph.initializers["one"].shape = ir.Shape([1, size])
        ir.save(model, tmp_path / f"{size}.onnx")
        return tmp_path / f"{size}.onnx"

    feed: dict[str, Any] = {"x": np.ones((1, 1), np.float32)}
    small_one, large_one = padded(10), padded(20_000_000)
    assert peak_memory(large_one, feed, threads=1) > peak_memory(small_one, feed) + 80_000_000
    with pytest.raises(ModelError, match="could not be run in a separate process"):
        peak_memory(small_one, {"wrong": feed["x"]})
