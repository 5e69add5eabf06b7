"""Which rule decides, and what it says."""

import math
from dataclasses import replace
from typing import Any

import pytest

from runtimes.parity.output_error import OutputParity
from runtimes.parity.verdict import (
    NOISE_MULTIPLE,
    MetricParity,
    Rules,
    float_rule_applies,
    float_tolerance,
    judge,
    too_few_samples,
)

GOOD = OutputParity(
    output="y",
    provider="cpu",
    elements=100,
    max_abs_error=1e-5,
    mean_abs_error=1e-6,
    max_relative_error=1e-5,
    sqnr_db=90.0,
    agreement=1.0,
    distribution=False,
    reference_peak=2.0,
    worst_sample=7,
    outside=0,
    problem=None,
)
NO_RULES = Rules()


def verdict(*outputs: OutputParity, **options: Any) -> tuple[bool, str]:
    rules, quantized = options.get("rules", NO_RULES), options.get("quantized", False)
    return judge(outputs, options.get("metrics", ()), rules, quantized=quantized)


def test_a_float_candidate_is_judged_at_the_outputs_own_scale() -> None:
    assert float_tolerance(GOOD) == pytest.approx(2e-4)
    assert verdict(GOOD) == (
        True,
        "y: largest error 1e-05 ≤ 0.0002 (1e-4 of the reference's peak)",
    )
    passed, reason = verdict(replace(GOOD, max_abs_error=3e-4))
    assert not passed
    assert reason.endswith("> 0.0002 (1e-4 of the reference's peak), sample 7")
    assert verdict(replace(GOOD, max_abs_error=3e-4, reference_peak=20))[0]
    assert verdict(replace(GOOD, max_abs_error=0.0, reference_peak=0.0))[0]
    assert not verdict(replace(GOOD, max_abs_error=math.nan))[0]


def test_a_measured_noise_sets_the_tolerance() -> None:
    noisy = replace(GOOD, noise=2e-6, noise_method="against float64")
    assert float_tolerance(noisy) == pytest.approx(NOISE_MULTIPLE * 2e-6)
    assert verdict(noisy) == (
        True,
        "y: largest error 1e-05 is 5× the reference's own rounding error 2e-06 "
        "(against float64), within 16×",
    )
    passed, reason = verdict(replace(noisy, max_abs_error=3.3e-5))
    assert not passed
    assert reason.endswith("beyond 16×, sample 7")
    silent = replace(noisy, noise=0.0)
    assert not verdict(silent)[0]
    assert verdict(replace(silent, max_abs_error=0.0))[0]


@pytest.mark.parametrize(
    ("rules", "labelled", "quantized", "expected"),
    [
        (Rules(), False, False, True),
        (Rules(), False, True, False),
        (Rules(max_drop=0.1), True, False, False),
        (Rules(max_drop=0.1), False, False, True),
        (Rules(rtol=0.1), False, False, False),
        (Rules(min_sqnr=3), False, False, False),
    ],
)
def test_noise_is_wanted_only_where_it_decides(
    rules: Rules, labelled: bool, quantized: bool, expected: bool
) -> None:
    assert float_rule_applies(rules, labelled=labelled, quantized=quantized) is expected


def test_integers_must_be_equal() -> None:
    integers = replace(GOOD, sqnr_db=None, agreement=1.0)
    assert verdict(integers)[0]
    assert verdict(replace(integers, agreement=0.99)) == (
        False,
        "y: 99.00% of the values are equal",
    )
    assert verdict(replace(integers, agreement=0.995), quantized=True)[0]


def test_a_quantized_candidate_has_floors() -> None:
    coarse = replace(GOOD, max_abs_error=0.5, sqnr_db=21.0, agreement=0.995)
    assert verdict(coarse, quantized=True) == (
        True,
        "y: agreement 99.50% ≥ 99.00%, SQNR 21.0 dB ≥ 20 dB",
    )
    assert verdict(replace(coarse, sqnr_db=19.0), quantized=True) == (
        False,
        "y: agreement 99.50% ≥ 99.00%, SQNR 19.0 dB < 20 dB",
    )
    assert not verdict(replace(coarse, agreement=0.98), quantized=True)[0]
    assert not verdict(coarse)[0]


@pytest.mark.parametrize(
    ("agreement", "samples", "floor", "said"),
    [
        (0.98, 50, None, "1 of 50 answers differs, and 50 samples are too few for a floor of"),
        (0.98, 50, 0.999, "which allows one from 1000 on"),
        (0.96, 50, None, None),  # two differ: more samples would not do
        (0.995, 200, 0.999, "1 of 200 answers differs"),
        (0.98, 50, 0.9, None),  # the floor allows one
        (0.9715, 50, None, None),  # of pixels, not of samples
        (1.0, 50, None, None),
    ],
)
def test_samples_that_are_too_few_for_a_floor_are_said(
    agreement: float, samples: int, floor: float | None, said: str | None
) -> None:
    output = replace(GOOD, agreement=agreement)
    found = too_few_samples([output], Rules(min_agreement=floor), samples)
    assert (found is None) == (said is None)
    assert said is None or said in str(found)


def test_only_outputs_that_are_classes_must_agree_where_that_is_known() -> None:
    classes = replace(GOOD, output="face", distribution=True)
    box = replace(GOOD, output="box", agreement=0.4, sqnr_db=30.0)
    assert verdict(classes, box, quantized=True)[0]
    assert not verdict(replace(classes, agreement=0.4), box, quantized=True)[0]
    assert not verdict(box, quantized=True)[0]

    rules = Rules(min_agreement=0.9)
    assert verdict(classes, box, rules=rules)[0]
    assert not verdict(box, rules=rules)[0]


def test_labels_of_one_output_do_not_excuse_the_others() -> None:
    face = replace(GOOD, output="face", distribution=True, sqnr_db=3.0, agreement=0.5)
    box = replace(GOOD, output="box", agreement=0.4, sqnr_db=21.0)
    rules = Rules(max_drop=0.01)
    metric = MetricParity("top1", "cpu", 0.9, 0.9, 0.0, output="face")
    assert verdict(face, box, metrics=[metric], rules=rules) == (
        True,
        "top1 0.9000 → 0.9000, drop 0.0000 ≤ 0.01 allowed; box: SQNR 21.0 dB ≥ 20 dB",
    )
    lost = replace(box, sqnr_db=7.5)
    passed, reason = verdict(face, lost, metrics=[metric], rules=rules)
    assert not passed
    assert "box: SQNR 7.5 dB < 20 dB" in reason
    assert verdict(face, lost, metrics=[metric], rules=replace(rules, min_sqnr=7.0))[0]
    whole = replace(metric, output=None)  # a function of the user's sees every output
    assert verdict(face, lost, metrics=[whole], rules=rules)[0]


def test_the_metric_goes_before_everything_but_problems() -> None:
    rules = Rules(max_drop=0.01, atol=1e-9, min_agreement=1.0)
    awful = replace(GOOD, max_abs_error=9.0, agreement=0.1, sqnr_db=-3.0, outside=100)
    metric = MetricParity("top1", "cpu", 0.978, 0.968, 0.978 - 0.968)
    assert verdict(awful, metrics=[metric], rules=rules) == (
        True,
        "top1 0.9780 → 0.9680, drop 0.0100 ≤ 0.01 allowed",
    )
    worse = MetricParity("top1", "cpu", 0.978, 0.967, 0.978 - 0.967)
    passed, reason = verdict(awful, metrics=[worse], rules=rules)
    assert (passed, reason) == (False, "top1 0.9780 → 0.9670, drop 0.0110 > 0.01 allowed")
    bad = replace(GOOD, problem="NaN at sample 3")
    assert verdict(bad, metrics=[metric], rules=rules) == (False, "y: NaN at sample 3")


def test_each_metric_is_judged_by_its_own_drop() -> None:
    face = MetricParity("top1:face", "cpu", 0.95, 0.93, 0.02, output="face")
    box = MetricParity("mae:box", "cpu", 0.1, 0.12, 0.02, output="box", higher_is_better=False)
    rules = Rules(max_drop=0.01, drops=(("mae:box", 0.5),))
    passed, reason = verdict(metrics=[face, box], rules=rules)
    assert not passed
    assert "top1:face 0.9500 → 0.9300, drop 0.0200 > 0.01 allowed" in reason
    assert "mae:box" not in reason
    passed, reason = verdict(metrics=[face, box], rules=replace(rules, max_drop=0.03))
    assert passed
    assert "0.03 allowed; mae:box 0.1000 → 0.1200, rise 0.0200 ≤ 0.5 allowed" in reason


@pytest.mark.parametrize(
    ("reference", "candidate", "higher", "said"),
    [
        (0.97, 0.9733, True, "better by 0.0033 (0.01 worse is allowed)"),
        (0.25, 0.24, False, "better by 0.0100 (0.01 worse is allowed)"),
        (0.25, 0.255, False, "rise 0.0050 ≤ 0.01 allowed"),
        (0.25, 0.41, False, "rise 0.1600 > 0.01 allowed"),
        (0.97, 0.97000001, True, "drop 0.0000 ≤ 0.01 allowed"),
        (0.97, 0.95998, True, "drop 0.01002 > 0.01 allowed"),
    ],
)
def test_a_change_is_said_as_it_is(
    reference: float, candidate: float, higher: bool, said: str
) -> None:
    lost = reference - candidate if higher else candidate - reference
    metric = MetricParity("m", "cpu", reference, candidate, lost, higher_is_better=higher)
    passed, reason = verdict(GOOD, metrics=[metric], rules=Rules(max_drop=0.01))
    assert reason == f"m {reference:.4f} → {candidate:.4f}, {said}"
    assert passed == (">" not in said)


def test_tolerances_that_were_asked_for() -> None:
    rules = Rules(rtol=1e-3, min_agreement=1.0)
    assert verdict(replace(GOOD, agreement=0.5), rules=rules) == (
        True,
        "y: all 100 elements within atol 0 + rtol 0.001 · |reference|",
    )
    passed, reason = verdict(replace(GOOD, outside=3), rules=rules)
    assert not passed
    assert reason.startswith("y: 3 of 100 elements beyond atol 0 + rtol 0.001")


def test_floors_that_were_asked_for() -> None:
    low = replace(GOOD, agreement=0.5, sqnr_db=15.0)
    assert verdict(low, rules=Rules(min_sqnr=14.0)) == (True, "y: SQNR 15.0 dB ≥ 14 dB")
    assert not verdict(low, rules=Rules(min_sqnr=14.0, min_agreement=0.6))[0]
    assert verdict(low, rules=Rules(min_agreement=0.5), quantized=True)[0]


def test_every_output_and_provider_must_pass_and_failures_are_named() -> None:
    other = replace(GOOD, provider="other", max_abs_error=1.0)
    passed, reason = verdict(GOOD, other)
    assert not passed
    assert reason.startswith("y on other: largest error 1 >")
    assert "y on cpu" not in reason
