"""Biases that undo the shift of the mean."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from quantizers import QuantizeOptions, quantize_model
from quantizers.calibration.calibrate import calibrate
from quantizers.calibration.observers import ChannelMeanObserver
from quantizers.weights import bias_correction
from runtimes import Dataset
from runtimes.base import Array

Graph = Callable[..., ir.Model]
Bound = Callable[..., Dataset]
Run = Callable[..., Array]
Sqnr = Callable[[Array, Array], float]

PLAIN = QuantizeOptions(bias_correction=False)


@pytest.fixture
def dull(graph: Graph) -> ir.Model:
    """Images that are mostly one value, as real ones are: all pixels are rounded the same way."""
    rng = np.random.default_rng(3)

    def weight(*shape: int) -> Array:
        return (0.4 * rng.normal(size=shape)).astype(np.float32)

    return graph(
        """g (float[n, 1, 10, 10] x, float[8, 1, 3, 3] w1, float[8] b1, float[8, 8, 3, 3] w2,
        float[8, 6] w3) => (float[n, 6] y)
        { [one] c1 = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
          r1 = Relu (c1)
          [two] c2 = Conv <pads = [1, 1, 1, 1]> (r1, w2)
          r2 = Relu (c2)
          p = GlobalAveragePool (r2)
          f = Flatten (p)
          [three] y = Gemm (f, w3) }""",
        {"w1": weight(8, 1, 3, 3), "b1": weight(8), "w2": weight(8, 8, 3, 3), "w3": weight(8, 6)},
    )


@pytest.fixture
def strokes() -> Array:
    rng = np.random.default_rng(4)
    return (rng.random((64, 1, 10, 10)) * (rng.random((64, 1, 10, 10)) > 0.9)).astype(np.float32)


def test_the_means_of_all_channels_are_those_of_the_float_model(
    dull: ir.Model, strokes: Array, bound: Bound
) -> None:
    data = bound(dull, x=strokes)

    def means(model: ir.Model) -> dict[str, Array]:
        watched = {name: ChannelMeanObserver(1) for name in ("c1", "c2", "y")}
        calibrate(model, data, watched)
        return {name: observer.mean() for name, observer in watched.items()}

    reference = means(dull)
    plain = means(quantize_model(dull, data, options=PLAIN)[0])
    options = QuantizeOptions(equalize=False)  # else the channels come out rescaled
    corrected = means(quantize_model(dull, data, options=options)[0])
    for name, mean in reference.items():
        before = np.abs(plain[name] - mean).max()
        after = np.abs(corrected[name] - mean).max()
        assert after < 0.1 * before
        assert after < 1e-3 * np.abs(mean).max()


def test_the_error_falls_on_samples_that_were_not_seen(
    dull: ir.Model, strokes: Array, bound: Bound, run: Run, sqnr: Sqnr
) -> None:
    data, unseen = bound(dull, x=strokes[:32]), strokes[32:]
    reference = run(dull, x=unseen)
    plain = run(quantize_model(dull, data, options=PLAIN)[0], x=unseen)
    corrected = run(quantize_model(dull, data)[0], x=unseen)
    assert sqnr(reference, corrected) > sqnr(reference, plain) + 3


def test_operators_without_a_bias_get_one(dull: ir.Model, strokes: Array, bound: Bound) -> None:
    data = bound(dull, x=strokes)
    for options, inputs in ((PLAIN, 2), (QuantizeOptions(), 3)):
        model, report = quantize_model(dull, data, options=options)
        nodes = {node.name: node for node in model.graph}
        assert len(nodes["two"].inputs) == len(nodes["three"].inputs) == inputs
        assert all(operator.fused for operator in report.operators)


def test_too_little_memory_leaves_the_biases(dull: ir.Model, strokes: Array, bound: Bound) -> None:
    data = bound(dull, x=strokes)
    starved = QuantizeOptions(memory_bytes=10_000)
    model, report = quantize_model(dull, data, options=starved)
    # With as little memory: in other parts, sums round otherwise, and so may weights.
    plain, _ = quantize_model(dull, data, options=replace(starved, bias_correction=False))
    assert ir.to_proto(model).SerializeToString() == ir.to_proto(plain).SerializeToString()
    assert any("memory" in note for note in report.notes)


def test_a_fixed_batch_is_filled_up(dull: ir.Model, strokes: Array, bound: Bound) -> None:
    dull.graph.inputs[0].shape = ir.Shape([5, 1, 10, 10])
    dull.graph.outputs[0].shape = ir.Shape([5, 6])
    _, report = quantize_model(dull, bound(dull, x=strokes[:32]))
    assert report.kept


def test_float_operators_between_units_are_walked_through(
    graph: Graph, bound: Bound, run: Run, sqnr: Sqnr
) -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(64, 7, 8)).astype(np.float32)
    model = graph(
        """g (float[n, 7, 8] x, float[8, 8] a, float[8] b, float[8, 4] c, float[4] d)
        => (float[n, 7, 4] y, float[n, 7, 8] h)
        { p = MatMul (x, a)
          s = Add (p, b)
          r = Relu (s)
          h = Softmax (r)
          q = MatMul (h, c)
          y = Add (q, d) }""",
        {
            "a": rng.normal(size=(8, 8)).astype(np.float32),
            "b": rng.normal(size=8).astype(np.float32),
            "c": rng.normal(size=(8, 4)).astype(np.float32),
            "d": rng.normal(size=4).astype(np.float32),
        },
    )
    result, report = quantize_model(model, bound(model, x=x))
    precisions = {operator.op_type: operator.precision for operator in report.operators}
    assert precisions == {
        **{"MatMul": "int8", "Add": "int8", "Relu": "int8"},
        "Softmax": "float32",
    }
    assert sqnr(run(model, "y", x=x), run(result, "y", x=x)) > 25


def test_the_float_means_are_measured_once_for_all_candidates(
    dull: ir.Model, strokes: Array, bound: Bound, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched: list[frozenset[str]] = []

    def watch(model: ir.Model, data: Dataset, observers: Any, **options: Any) -> int:
        watched.append(frozenset(observers))
        return calibrate(model, data, observers, **options)

    monkeypatch.setattr(bias_correction, "calibrate", watch)
    # Clipped ranges are tried on the same float model, and gain nothing here.
    quantize_model(dull, bound(dull, x=strokes), options=QuantizeOptions(equalize=False))
    assert watched == [{"c1", "c2", "y"}]
