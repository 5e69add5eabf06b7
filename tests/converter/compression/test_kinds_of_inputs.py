"""Integers, booleans and scalars are values like others in every step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from converter import compress, prune
from converter.compression import attempts, judge
from converter.compression.gain import Gain
from quantizers import QuantizeOptions, quantize_model
from runtimes import Dataset
from runtimes.costs import Costs
from runtimes.onnx_files.load_save import model_inputs, weight_bytes

RNG = np.random.default_rng(0)
SAMPLES = {
    "x": RNG.normal(size=(64, 8)).astype(np.float32),
    "ids": RNG.integers(0, 10, (64, 3)),
    "flag": RNG.random((64, 8)) < 0.7,
    "scale": np.array(2, np.int32),
}


@pytest.fixture(params=["N", "4"])
def model(graph: Any, request: pytest.FixtureRequest) -> ir.Model:
    """With a free batch, and with a fixed one, which is filled up."""
    rng = np.random.default_rng(1)
    shapes = {"w": (8, 16), "u": (16, 16), "v": (16, 3), "table": (10, 8)}
    weights = {
        name: (rng.normal(size=shape) / 4).astype(np.float32) for name, shape in shapes.items()
    }
    n = request.param
    text = f"""g (float[{n}, 8] x, int64[{n}, 3] ids, bool[{n}, 8] flag, int32 scale,
               float[8, 16] w, float[16, 16] u, float[16, 3] v, float[10, 8] table)
            => (float[{n}, 3] y, int64[{n}] best) {{
        e = Gather(table, ids)  axes = Constant<value_ints = [1]>()
        m = ReduceMean<keepdims = 0>(e, axes)  known = Cast<to = 1>(flag)
        s = Add(x, m)  t = Mul(s, known)
        a = MatMul(t, w)  b = Relu(a)  c = MatMul(b, u)  d = Relu(c)
        f = Cast<to = 1>(scale)  h = Mul(d, f)
        y = MatMul(h, v)  best = ArgMax<axis = 1, keepdims = 0>(y) }}"""
    made: ir.Model = graph(text, weights)
    return made


def outputs_of(path: Path, count: int) -> list[Any]:
    feed = {name: array[:count] if array.ndim else array for name, array in SAMPLES.items()}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return list(session.run(None, feed))


def test_pruning_takes_them(model: ir.Model, tmp_path: Path) -> None:
    report = prune(model, tmp_path / "p.onnx", SAMPLES, flops=0.6, min_agreement=0, min_sqnr=-99)
    assert report.kept, report.reason
    assert [one.shape for one in outputs_of(tmp_path / "p.onnx", 4)] == [(4, 3), (4,)]


def test_int8_takes_them(model: ir.Model, run: Any, sqnr: Any) -> None:
    data = Dataset.open(SAMPLES, inputs=model_inputs(model))
    quantized, report = quantize_model(model, data, options=QuantizeOptions())
    assert report.kept
    feed = {name: array[:4] if array.ndim else array for name, array in SAMPLES.items()}
    assert sqnr(run(model, **feed), run(quantized, **feed)) > 20


@pytest.mark.sweep(2)
def test_so_does_the_whole(
    model: ir.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge.Gain, "predicted", lambda *_: Gain(0.5, ((1, 2.0),), True, False))
    monkeypatch.setattr(attempts, "lost_race", lambda *_: None)
    sizes = lambda _, models, feed: [float(weight_bytes(one)) for one in models]  # noqa: E731
    monkeypatch.setattr(Costs, "latencies", sizes)  # what is smaller is faster, on any machine
    report = compress(
        model, tmp_path / "out", SAMPLES, min_agreement=0, min_sqnr=-99, recover=False
    )
    kept = [step.name for step in report.steps if step.kept]
    assert kept[:2] == ["prune", "quantize"], kept
    assert [one.shape for one in outputs_of(tmp_path / "out/model.onnx", 4)] == [(4, 3), (4,)]
