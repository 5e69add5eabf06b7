"""Which weights take fewer bits, on graphs in float and in INT8."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from quantizers import QuantizeOptions, quantize_model
from quantizers.low_bit.forms import ladder
from quantizers.low_bit.search import store_weights
from quantizers.low_bit.targets import find_targets
from runtimes import Dataset
from runtimes.errors import DataError
from runtimes.parity.check import check

RNG = np.random.default_rng(0)
SAMPLES = (RNG.normal(size=(96, 12)) @ RNG.normal(size=(12, 64))).astype(np.float32)
OPTIONS = QuantizeOptions(threads=1)

TEXT = """
    g (float[N, 64] x, float[64, 64] w, float[64] b, float[48, 64] v, float[1, 48] m)
        => (float[N, 48] y)
    {
        [first] p = MatMul (x, w)
        [bias] s = Add (p, b)
        [relu] r = Relu (s)
        [second] t = Gemm <transB = 1> (r, v)
        [shift] y = Add (t, m)
    }
"""
WEIGHTS = {
    "w": RNG.normal(size=(64, 64)).astype(np.float32) / 8,
    "b": RNG.normal(size=64).astype(np.float32),
    "v": RNG.normal(size=(48, 64)).astype(np.float32) / 8,
    "m": RNG.normal(size=(1, 48)).astype(np.float32),
}

Graph = Callable[..., ir.Model]


def data() -> Dataset:
    return Dataset.open({"x": SAMPLES})


def within(model: ir.Model, decibels: float) -> Callable[[ir.Model], bool]:
    floors = {"min_sqnr": decibels, "min_agreement": 0.0}
    return lambda found: check(model, found, data(), threads=1, **floors).passed


def sqnr_db(model: ir.Model, found: ir.Model) -> float:
    (output,) = check(model, found, data(), threads=1, min_sqnr=-100).outputs
    assert output.sqnr_db is not None
    return output.sqnr_db


def test_as_many_bits_go_as_are_accepted(graph: Graph) -> None:
    model = graph(TEXT, WEIGHTS)
    saved = []
    for decibels in (35.0, 15.0):
        found = store_weights(model, data(), within(model, decibels), options=OPTIONS)
        assert found is not None
        built = found.build()
        assert sqnr_db(model, built) >= decibels - 0.1
        assert set(found.chosen) == {"w", "v"}  # biases are too small
        saved.append(found.saved_bytes)
    assert saved[1] > saved[0]
    assert {value.name for value in model.graph.initializers.values()} == set(WEIGHTS)


def test_what_is_stored_computes_what_was_judged(graph: Graph) -> None:
    model = graph(TEXT, WEIGHTS)
    found = store_weights(model, data(), within(model, 15.0), options=OPTIONS)
    assert found is not None
    assert sqnr_db(found.in_float(), found.build()) > 100


def test_less_noise_is_a_part_of_it(graph: Graph) -> None:
    model = graph(TEXT, WEIGHTS)
    found = store_weights(model, data(), lambda model: True, options=OPTIONS)
    assert found is not None
    less = found.with_less_noise(0.25)
    assert less is not None
    assert less.noise <= 0.25 * found.noise
    assert 0 < less.saved_bytes < found.saved_bytes
    assert less.with_less_noise(0.0) is None


def test_nothing_accepted_is_nothing_found(graph: Graph) -> None:
    model = graph(TEXT, WEIGHTS)
    assert store_weights(model, data(), lambda model: False, options=OPTIONS) is None


def test_int8_operators_stay_int8(graph: Graph) -> None:
    model = graph(TEXT, WEIGHTS)
    int8, _ = quantize_model(model, data(), options=OPTIONS)
    targets = find_targets(int8, data(), OPTIONS)
    assert [target.is_int8 for target in targets] == [True, True]
    assert all(target.inputs is not None for target in targets)
    assert all(target.row_scale is not None for target in targets)
    found = store_weights(int8, data(), within(model, 18.0), options=OPTIONS)
    assert found is not None
    assert {move.stored.form for move in found.chosen.values()} <= {"16 clusters", "4 clusters"}
    assert sqnr_db(model, found.build()) >= 17.9
    for target in targets:
        move = found.chosen[target.name]
        before = int8.graph.initializers[target.name].const_value
        limit = target.limit(before.numpy())
        assert limit is not None
        pairs = np.abs(move.stored.weight.values().reshape(-1)[limit.order].astype(int))
        sums = pairs.reshape(len(pairs), -1, 2).sum(axis=2).max(axis=1)
        assert (sums <= limit.largest).all()


def test_bytes_and_errors_rise_and_fall_together(graph: Graph) -> None:
    model = graph(TEXT, WEIGHTS)
    for target in find_targets(model, data(), OPTIONS):
        steps = ladder(WEIGHTS[target.name], target)
        sizes, errors = [one.bytes for one in steps], [one.error for one in steps]
        assert sizes == sorted(sizes, reverse=True)
        assert errors == sorted(errors)
        slopes = np.diff([0.0, *errors]) / -np.diff([WEIGHTS[target.name].nbytes, *sizes])
        assert (np.diff(slopes) > 0).all()


def test_weights_that_are_not_finite_stay(graph: Graph) -> None:
    text = """
        g (float[N, 32, 32] x, float[32, 32] mask) => (float[N, 32, 32] y) { y = Add (x, mask) }
    """
    mask = np.triu(np.full((32, 32), -np.inf, np.float32), 1)
    samples = Dataset.open({"x": np.zeros((4, 32, 32), np.float32)})
    assert find_targets(graph(text, {"mask": mask}), samples, OPTIONS) == []


def test_forms_are_repeated(graph: Graph) -> None:
    model = graph(TEXT, WEIGHTS)
    first = store_weights(model, data(), within(model, 15.0), options=OPTIONS)
    assert first is not None
    forms = {one["name"]: one["form"] for one in first.to_dict()["weights"]}
    again = store_weights(model, data(), lambda model: False, options=OPTIONS, forms=forms)
    assert again is not None
    assert ir.to_proto(again.build()) == ir.to_proto(first.build())
    with pytest.raises(DataError, match="'u' as int4"):
        store_weights(model, data(), lambda model: True, options=OPTIONS, forms={"u": "int4"})


def test_old_opsets_are_left_alone(graph: Graph) -> None:
    text = "g (float[N, 64] x, float[64, 64] w) => (float[N, 64] y) { y = MatMul (x, w) }"
    model = graph(text, {"w": WEIGHTS["w"]}, opset=11)
    assert store_weights(model, data(), lambda model: True, options=OPTIONS) is None
