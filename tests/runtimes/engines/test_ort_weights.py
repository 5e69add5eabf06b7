"""Large weights that a session takes from memory: the same answers, bit by bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from runtimes.engines import ort_session, ort_weights
from runtimes.engines.ort import OrtRuntime

Build = Callable[..., ir.Model]
TEXT = """net (float[N, 32] x) => (float[N, 48] y) {
    h = MatMul(x, A)
    hb = Add(h, B)
    r = Relu(hb)
    w = DequantizeLinear(C, s)
    y = MatMul(r, w)
}"""


@pytest.fixture
def model(graph: Build, monkeypatch: pytest.MonkeyPatch) -> ir.Model:
    monkeypatch.setattr(ort_weights, "_LEAST_OF_MODEL", 2**12)
    monkeypatch.setattr(ort_weights, "_LEAST", 2**8)
    random = np.random.default_rng(0)
    arrays = {
        "A": random.standard_normal((32, 64)).astype("f4"),
        "B": random.standard_normal(64).astype("f4"),
        "C": random.integers(-127, 128, (64, 48)).astype("i1"),
        "s": np.array(0.01, np.float32),
    }
    found = graph(TEXT)
    free = {value.name: value for node in found.graph for value in node.inputs if value}
    for name, array in arrays.items():
        free[name].const_value = ir.tensor(array, name=name)
        found.graph.register_initializer(free[name])
    return found


def answers(model: ir.Model, **options: Any) -> Any:
    x = np.random.default_rng(1).standard_normal((16, 32)).astype("f4")
    with OrtRuntime(model, threads=1, **options) as runtime:
        return runtime.run({"x": x})["y"]


def test_answers_are_the_same(model: ir.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    apart = answers(model)
    monkeypatch.setattr(ort_session, "weights_apart", lambda model: (model, {}))
    np.testing.assert_array_equal(apart, answers(model))


def test_large_weights_alone_are_taken_apart_and_the_model_stays(model: ir.Model) -> None:
    before = ir.to_proto(model).SerializeToString()
    without, weights = ort_weights.weights_apart(model)
    assert sorted(weights) == ["A", "B", "C"]
    assert len(ir.to_proto(without).SerializeToString()) < 1000
    assert ir.to_proto(model).SerializeToString() == before


def test_weights_live_as_long_as_the_session(model: ir.Model) -> None:
    x = np.random.default_rng(1).standard_normal((16, 32)).astype("f4")
    wanted = answers(model)
    with OrtRuntime(model.clone(), threads=1) as runtime:
        model.graph.initializers["A"].const_value = None
        noise = [np.full((32, 64), np.nan, np.float32) for _ in range(100)]
        np.testing.assert_array_equal(runtime.run({"x": x})["y"], wanted)
    assert len(noise) == 100


def test_a_small_model_is_opened_as_it_is(model: ir.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort_weights, "_LEAST_OF_MODEL", 2**20)
    assert ort_weights.weights_apart(model) == (model, {})
