"""Deciding by costs, with the costs given: no test here waits for a clock."""

import json
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from converter.compression import quantize as judge
from converter.compression.gain import Gain
from quantizers import QuantizeOptions, quantize, quantize_model
from quantizers.calibration.statistics import observe
from quantizers.mixed_precision import choose as mixed
from quantizers.mixed_precision.candidate import CalibratedModel, build_candidate
from quantizers.mixed_precision.operator_costs import Cost, operator_costs
from quantizers.policy.plan import make_plan
from quantizers.rewrites.prepare import prepare
from runtimes import Dataset, ModelError, ProfileReport, profile
from runtimes.costs import open_costs
from runtimes.engines.timed_feeds import timed_feeds
from runtimes.onnx_files.load_save import model_inputs


@pytest.fixture(autouse=True)
def given_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """``project`` is slow in INT8, everything else fast; the mixture always wins."""

    def costs(source, built, feeds, table):
        found = operator_costs(source, built, feeds, table)
        return {name: Cost(1e5, 9e5) if name == "project" else Cost(3e5, 1e5) for name in found}

    def quick(*models: object, **options: object) -> ProfileReport:
        return profile(*models, **{**options, "min_time": 0.02})

    monkeypatch.setattr(mixed, "operator_costs", costs)
    monkeypatch.setattr(mixed._Measured, "is_faster", lambda *args: True)
    monkeypatch.setattr(judge, "profile", quick)
    monkeypatch.setattr(judge, "lost_races", lambda *args: None)
    monkeypatch.setattr(Gain, "predicted", lambda *args: Gain(0.3, ((1, 2.0),), True, False))


MEASURE = QuantizeOptions(measure=True, min_agreement=0.0, equalize=False, choose_ranges=False)


def precisions(report) -> dict[str, str]:
    return {operator.name: operator.precision for operator in report.operators}


def test_what_is_slower_in_int8_goes_back_to_float(residual_model, images, bound) -> None:
    result, report = quantize_model(
        residual_model, bound(residual_model, image=images), options=MEASURE
    )
    found = {operator.name: operator for operator in report.operators}
    assert found["project"].precision == "float32"
    assert "faster so" in found["project"].reason
    assert found["first"].precision == found["dense"].precision == "int8"
    assert found["first"].sensitivity_db > 20
    assert (found["first"].float_share, found["first"].int8_share) == (0.3, 0.1)
    assert found["project"].int8_share == 0.9
    conv = next(node for node in result.graph if node.name == "project")
    assert conv.inputs[1].const_value.dtype == ir.DataType.FLOAT


def test_noise_has_its_price(residual_model, images, bound, monkeypatch) -> None:
    """A floor that all in INT8 does not reach is reached with some operators in float."""
    monkeypatch.setattr(mixed._Measured, "is_faster", lambda *args: False)
    data = bound(residual_model, image=images)
    _, loose = quantize_model(residual_model, data, options=MEASURE)
    strict = QuantizeOptions(
        measure=True, min_agreement=0.0, min_sqnr=48.0, equalize=False, choose_ranges=False
    )
    _, tight = quantize_model(residual_model, data, options=strict)
    int8 = [sum(p == "int8" for p in precisions(report).values()) for report in (loose, tight)]
    assert int8[1] < int8[0]
    assert any("alone in INT8" in (operator.reason or "") for operator in tight.operators)


def test_decisions_are_replayed_to_the_byte(residual_model, images, tmp_path: Path) -> None:
    decided = quantize(residual_model, tmp_path / "a.onnx", images, min_agreement=0.5)
    (tmp_path / "report.json").write_text(json.dumps(decided.to_dict()))
    again = quantize(
        residual_model,
        tmp_path / "b.onnx",
        images,
        min_agreement=0.5,
        decisions=tmp_path / "report.json",
    )
    assert precisions(again) == precisions(decided)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert again.kept
    assert "replayed" in again.reason


def test_decisions_of_another_model_are_refused(residual_model, images, bound) -> None:
    options = QuantizeOptions(precisions={"stranger": "float32"})
    with pytest.raises(ModelError, match=r"another model.*'stranger'"):
        quantize_model(residual_model, bound(residual_model, image=images), options=options)


def costs_of(source: ir.Model, data: Dataset, batches: tuple[int, ...] = (1,)) -> dict[str, Cost]:
    """What the operators of a prepared model cost, all that can be in INT8."""
    statistics = observe(source, make_plan(source.graph), data, QuantizeOptions())
    ranges = {name: statistics.range(name) for name in statistics.observers}
    built = build_candidate(
        CalibratedModel(source, statistics, ranges), {}, data, QuantizeOptions()
    )
    assert built is not None
    feeds = timed_feeds(data, model_inputs(source), batches)
    return operator_costs(source, built, feeds, open_costs())


def test_times_are_found_for_every_kernel(residual_model, images, bound) -> None:
    source = prepare(residual_model)
    costs = costs_of(source, bound(source, image=images), batches=(1, 8))
    for name in ("first", "depthwise", "project"):
        assert costs[name].float_time > 0
        assert costs[name].int8_time > 0
    assert 0.5e6 < sum(cost.float_time for cost in costs.values()) < 1.001e6
    assert np.isfinite([cost.int8_time for cost in costs.values()]).all()


def test_what_is_fused_costs_what_it_takes(graph, bound) -> None:
    """ONNX Runtime makes one kernel of a product, a bias and a ReLU; all of it is the product's."""
    rng = np.random.default_rng(0)
    text = """
        g (float[N, 96] x, float[96, 96] w, float[96] b, float[96, 8] v) => (float[N, 8] y) {
            [product] h = MatMul (x, w)
            [biased] a = Add (h, b)
            [relu] r = Relu (a)
            [last] y = MatMul (r, v)
        }
    """
    weights = {"w": (96, 96), "b": (96,), "v": (96, 8)}
    arrays = {k: rng.standard_normal(shape).astype(np.float32) for k, shape in weights.items()}
    source = prepare(graph(text, arrays))
    data = bound(source, x=rng.standard_normal((40, 96)).astype(np.float32))
    costs = costs_of(source, data)
    assert sum(cost.float_time for cost in costs.values()) == pytest.approx(1e6, rel=1e-6)
    assert costs["product"].float_time > costs["last"].float_time > 0


def test_decibels_are_bought_where_they_are_cheap(
    residual_model, images, bound, monkeypatch
) -> None:
    """What gains nothing in INT8 is not there at the cost of accuracy, floors or no floors."""
    gains = {"dense": 0.0, "first": 3e5, "depthwise": 3e5, "project": 3e5}

    def costs(source, built, feeds, table):
        found = operator_costs(source, built, feeds, table)
        return {name: Cost(1e4, 1e4 - gains.get(name, 0.0) / 40) for name in found}

    worst = {"dense": 25.0}
    monkeypatch.setattr(mixed, "operator_costs", costs)
    monkeypatch.setattr(
        mixed,
        "shared_sensitivities",
        lambda source, basis, names, data, options, **_: {n: worst.get(n, 60.0) for n in names},
    )
    monkeypatch.setattr(mixed, "boundary_costs", lambda *args: {})
    monkeypatch.setattr(mixed, "_ENOUGH_DB", 60.0)
    monkeypatch.setattr(mixed, "_is_worth", lambda *args: True)
    _, report = quantize_model(residual_model, bound(residual_model, image=images), options=MEASURE)
    found = precisions(report)
    assert found["dense"] == "float32"
    assert found["first"] == found["project"] == "int8"
    reasons = {operator.name: operator.reason for operator in report.operators}
    assert "returned to float" in reasons["dense"]


def test_decibels_that_cost_more_time_than_they_are_worth_are_not_bought(
    residual_model, images, bound, monkeypatch
) -> None:
    monkeypatch.setattr(mixed._Measured, "is_faster", lambda *args: False)
    monkeypatch.setattr(mixed, "_is_worth", lambda *args: False)
    _, report = quantize_model(residual_model, bound(residual_model, image=images), options=MEASURE)
    found = precisions(report)
    assert {found[name] for name in ("first", "depthwise", "project", "dense")} == {"int8"}


def test_a_mixture_that_is_refused_gets_more_in_float(residual_model, images, bound) -> None:
    data, counts = bound(residual_model, image=images), []

    def accept(model: ir.Model) -> bool:
        counts.append(sum(node.op_type == "QuantizeLinear" for node in model.graph))
        return len(counts) == 2

    quantize_model(residual_model, data, options=MEASURE, accept=accept)
    assert len(counts) == 2
    assert counts[0] > counts[1] > 0


@pytest.mark.parametrize(("agreement", "samples", "inside"), [
    (0.96, 50, True), (0.94, 50, False), (0.985, 500, False), (0.99, 500, True), (0.9, 10, True),
])  # fmt: skip
def test_of_few_samples_some_may_flip_by_chance(
    agreement: float, samples: int, inside: bool
) -> None:
    options = QuantizeOptions(min_agreement=0.99, min_sqnr=20.0)
    assert mixed._inside(mixed.Score(30.0, agreement, samples), options) == inside


def test_a_table_has_to_find_more_than_tables_differ(
    residual_model, images, bound, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What kernels should take decides, unless the table's mixture is clearly worth more."""
    data, prices = bound(residual_model, image=images), iter([0.50, 0.55, 0.40, 0.55])
    monkeypatch.setattr(mixed, "_price", lambda *_: next(prices))
    seen: list[bool] = []
    before = mixed._is_better

    def noted(*args):
        seen.append(before(*args))
        return seen[-1]

    monkeypatch.setattr(mixed, "_is_better", noted)
    for _ in range(2):
        quantize_model(residual_model, data, options=MEASURE)
    assert seen == [False, True]
