"""Candidates that do the same on clean samples, and what they do on perturbed ones."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from runtimes import Dataset, check
from runtimes.engines.ort import OrtRuntime
from runtimes.errors import DataError
from runtimes.parity.budget import Budget
from runtimes.parity.ladder import MOST_SAMPLES, measure_ladder
from runtimes.parity.stress_report import RungParity
from runtimes.parity.stressed import CLEAN_ONLY, Stressed
from runtimes.parity.verdict import FAILED

Make = Callable[[str], ir.Model]
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, 400)
# The larger of the first two features tells the class. The last two are always equal: clean samples
# say nothing of their difference.
SIDE = 3.0 - 6.0 * LABELS[:, None]
BASE = np.concatenate([SIDE, -SIDE, 0 * SIDE], axis=1) + RNG.normal(size=(400, 3)) * [0.5, 0.5, 3]
X = np.concatenate([BASE, BASE[:, 2:]], axis=1).astype(np.float32)
DATA = {"x": X, "labels": LABELS}


def linear(graph: Make, fragile: float, more: str = "") -> ir.Model:
    """Scores of two classes; ``fragile`` times the difference of equal features on top.

    A power of two: nothing of it is left on clean samples, however it is summed.
    """
    return graph(
        "g (float[batch, 4] x) => (float[batch, 2] y)"
        "<float[4, 2] w = {4, 0, 0, 4, 0, 0, 0, 0},"
        f"float[4, 2] d = {{0, 0, 0, 0, 0, {fragile}, 0, {-fragile}}}>"
        f"{{ r = MatMul(x, w) e = MatMul(x, d) s = Add(r, e) {more or 'y = Identity(s)'} }}"
    )


@pytest.fixture
def robust(graph: Make) -> ir.Model:
    return linear(graph, 0.0)


@pytest.fixture
def brittle(graph: Make) -> ir.Model:
    return linear(graph, 256.0)


def test_a_fragile_model_passes_on_clean_samples_and_fails_on_a_rung(
    robust: ir.Model, brittle: ir.Model
) -> None:
    report = check(robust, brittle, DATA, metric="top1")
    assert not report.passed
    assert report.verdict == FAILED
    assert report.metrics[0].drop == 0
    assert report.stress is not None
    *passed, failed = report.stress.rungs
    assert all(one.passed for one in passed)
    assert not failed.passed
    assert report.reason == failed.reason
    assert failed.reason.startswith(f"{failed.name}: top1 fell by ")
    assert failed.reason.endswith(" of 0.01 allowed")
    assert (failed.drop or 0.0) > 0.2
    json.dumps(report.to_dict(), allow_nan=False)


def test_without_labels_floors_hold_on_the_rungs(robust: ir.Model, brittle: ir.Model) -> None:
    report = check(robust, brittle, {"x": X}, min_agreement=0.99)
    assert not report.passed
    assert "agreement" in report.reason
    assert "99.00% is the floor" in report.reason
    report = check(robust, brittle, {"x": X}, min_sqnr=20.0)
    assert not report.passed
    assert "SQNR" in report.reason


def test_stress_none_judges_clean_samples_and_says_so(robust: ir.Model, brittle: ir.Model) -> None:
    report = check(robust, brittle, DATA, metric="top1", stress="none")
    assert report.passed
    assert report.stress is None
    assert CLEAN_ONLY in report.notes


def test_a_word_that_is_no_stress_is_refused() -> None:
    with pytest.raises(DataError, match="stress='hard': there are default, none"):
        Budget(stress="hard")  # type: ignore[arg-type]


def test_what_is_as_good_holds_and_every_rung_is_told(graph: Make, robust: ir.Model) -> None:
    report = check(robust, linear(graph, 0.0078125), DATA, metric="top1")
    assert report.passed
    assert report.stress is not None
    names = [one.name for one in report.stress.rungs]
    assert [name.split()[0] for name in names] == ["noise", "gain"]
    assert report.reason.endswith(f"holds under {', '.join(names)}")
    assert report.stress.samples == len(X)


@pytest.mark.parametrize("asked", [{"rtol": 1e-3}, {"atol": 1e-3}, {}])
def test_tolerances_and_rounding_are_for_clean_samples(
    robust: ir.Model, brittle: ir.Model, asked: dict[str, Any]
) -> None:
    report = check(robust, brittle, {"x": X}, **asked)
    assert report.passed
    assert report.stress is None
    assert CLEAN_ONLY not in report.notes


def test_the_same_file_is_not_perturbed(
    robust: ir.Model, saved: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: Any, **options: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("runtimes.parity.stressed.measure_ladder", never)
    first, second = saved(robust, "a.onnx"), saved(robust, "b.onnx")
    for other in (first, second):
        assert check(first, other, DATA, metric="top1").stress is None


def test_what_clean_samples_refuse_is_not_perturbed(graph: Make, robust: ir.Model) -> None:
    turned = linear(graph, 0.0, "y = Neg(s)")
    report = check(robust, turned, DATA, metric="top1")
    assert not report.passed
    assert report.stress is None


def test_a_reference_that_breaks_drops_the_rung_with_the_reason(graph: Make) -> None:
    # Noise makes the features differ, and the logarithm of a negative number is none.
    model = linear(graph, 256.0, "z = Sqrt(s) y = Add(s, z)")
    samples = {"x": np.abs(X)}
    ladder = measure_ladder(model, samples)
    assert [rung.kind for rung in ladder.rungs] == ["gain"]
    assert [name for name, _ in ladder.left_out] == ["noise 0.5", "noise 0.25", "noise 0.1"]
    assert all("the reference breaks" in reason for _, reason in ladder.left_out)


def test_a_reference_that_cannot_run_there_drops_the_rung(graph: Make) -> None:
    # The difference of equal features picks the first row; noise points outside of the table.
    model = graph(
        "g (float[batch, 4] x) => (float[batch, 1] y)"
        "<float[4, 1] d = {0, 0, 1024, -1024}, float[2] table = {1, 2}>"
        "{ e = MatMul(x, d) a = Abs(e) i = Cast<to = 7>(a) y = Gather(table, i) }"
    )
    ladder = measure_ladder(model, {"x": X})
    assert {rung.kind for rung in ladder.rungs} == {"gain"}
    assert "failed when it ran" in dict(ladder.left_out)["noise 0.1"]


def test_the_harshest_rung_that_is_borne_stands(graph: Make, brittle: ir.Model) -> None:
    whole = measure_ladder(linear(graph, 0.0), DATA, "top1")
    assert [rung.name for rung in whole.rungs if rung.kind == "gain"] == ["gain 0.3"]
    fragile = measure_ladder(brittle, DATA, "top1")
    assert "noise" not in [rung.kind for rung in fragile.rungs]
    reasons = dict(fragile.left_out)
    assert reasons["noise 0.5"].startswith("the reference falls from top1 ")


@pytest.mark.parametrize("metric", ["top1", None])
def test_a_rung_is_given_up_once_it_is_certain(
    brittle: ir.Model, metric: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the noisy samples are wrong, and 2% may be: few of them are enough to know."""
    seen: list[int] = []
    run = OrtRuntime._run

    def counted(self: OrtRuntime, feed: Any, names: Any) -> Any:
        seen.append(len(next(iter(feed.values()))))
        return run(self, feed, names)

    monkeypatch.setattr(OrtRuntime, "_run", counted)
    ladder = measure_ladder(brittle, DATA, metric, batch_size=10)
    refused = dict(ladder.left_out)
    assert refused.keys() >= {"noise 0.5", "noise 0.25", "noise 0.1"}
    assert all("at best" in reason for reason in refused.values())
    whole = 400 * (1 + len(ladder.rungs))  # clean samples, and every rung that is borne
    assert sum(seen) <= whole + 40 * len(refused)


def test_no_more_samples_than_are_needed_are_perturbed(robust: ir.Model) -> None:
    many = np.tile(X, (3, 1))
    ladder = measure_ladder(robust, {"x": many})
    assert ladder.samples == MOST_SAMPLES < len(many)
    for found in ladder.outputs.values():
        assert sum(len(batch) for batch, _ in found.batches()) == MOST_SAMPLES


def test_a_candidate_of_another_batch_is_judged_in_its_own(graph: Make, robust: ir.Model) -> None:
    alone = graph(
        "g (float[1, 4] x) => (float[1, 2] y) <float[4, 2] w = {4, 0, 0, 4, 0, 0, 0, 0}>"
        "{ y = MatMul(x, w) }"
    )
    few = {name: values[:50] for name, values in DATA.items()}
    for models in ((robust, alone), (alone, robust)):
        report = check(*models, few, metric="top1")
        assert report.passed
        assert report.stress is not None
        assert len(report.stress.rungs) == 2


def test_nothing_to_perturb_is_said(graph: Make) -> None:
    model = graph("g (float[batch, 4] x) => (float[batch, 4] y) { y = Identity(x) }")
    zeros = RNG.integers(0, 2, (50, 4)).astype(np.float32)
    ladder = measure_ladder(model, {"x": zeros})
    assert ladder.rungs == ladder.left_out == ()
    other = graph("g (float[batch, 4] x) => (float[batch, 4] y) { z = Neg(x) y = Neg(z) }")
    report = check(model, other, {"x": zeros}, min_sqnr=20.0)
    assert report.passed
    assert report.reason.endswith("no input that can be perturbed")


def test_the_reference_runs_once_for_all_candidates(
    robust: ir.Model, graph: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    stressed = Stressed(robust, Dataset.open(DATA), Budget("top1", 0.01))
    known = dict(stressed.ladder.outputs)
    monkeypatch.setattr("runtimes.parity.kept_outputs.run_padded", None)  # it would have to run
    for fragile in (0.0078125, 0.015625):
        with OrtRuntime(linear(graph, fragile)) as runtime:
            assert stressed.judge(runtime).passed
    assert dict(stressed.ladder.outputs) == known


@pytest.mark.parametrize("what", ["BATCHES", "OUTPUTS"])
def test_what_is_too_large_to_keep_is_made_again(
    what: str, robust: ir.Model, brittle: ir.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = check(robust, brittle, DATA, metric="top1").stress
    monkeypatch.setattr(f"runtimes.parity.kept_outputs._MOST_BYTES_OF_{what}", 1000)
    stressed = Stressed(robust, Dataset.open(DATA), Budget("top1", 0.01))
    for _ in range(2):
        options = {"metric": "top1", "stressed": stressed}
        assert check(robust, brittle, DATA, **options).stress == kept


def test_large_inputs_do_not_make_the_reference_run_again(
    robust: ir.Model, graph: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtimes.parity.kept_outputs._MOST_BYTES_OF_BATCHES", 1000)
    stressed = Stressed(robust, Dataset.open(DATA), Budget("top1", 0.01))
    assert stressed.ladder.rungs
    monkeypatch.setattr("runtimes.parity.kept_outputs.run_padded", None)  # it would have to run
    with OrtRuntime(linear(graph, 0.0078125)) as runtime:
        assert stressed.judge(runtime).passed


def test_a_candidate_that_breaks_on_a_rung_is_refused(graph: Make, robust: ir.Model) -> None:
    # Exact where the equal features are equal: the root of their negative difference is none.
    broken = graph(
        "g (float[batch, 4] x) => (float[batch, 2] y)"
        "<float[4, 2] w = {4, 0, 0, 4, 0, 0, 0, 0}, float[4, 1] d = {0, 0, 1, -1}>"
        "{ s = MatMul(x, w) e = MatMul(x, d) r = Sqrt(e) y = Add(s, r) }"
    )
    report = check(robust, broken, DATA, metric="top1")
    assert not report.passed
    assert report.reason.startswith("noise 0.5: y: NaN at sample")


def test_chance_explains_little_losses_of_few_samples() -> None:
    few = RungParity("noise 0.1", "top1", 0.98, 0.95, 0.03, 0.01, 0.025)
    assert few.limit == pytest.approx(0.945)
    worse = RungParity("noise 0.1", "mae", 1.0, 1.2, 0.2, 0.1, math.inf, False)
    assert worse.limit == pytest.approx(1.1)
    assert str(worse) == "mae 1 → 1.2"


def test_strict_leaves_nothing_to_chance(graph: Make, robust: ir.Model) -> None:
    """A loss that few samples may bring by chance passes, and not where the budget is strict."""
    weak = linear(graph, 1.0)
    few = {name: values[:120] for name, values in DATA.items()}
    stressed = {
        strict: check(robust, weak, few, metric="top1", max_drop=0.05, strict=strict).stress
        for strict in (False, True)
    }
    assert stressed[False] is not None
    assert all(one.margin > 0 for one in stressed[False].rungs)
    assert stressed[True] is not None
    assert all(one.margin == 0 for one in stressed[True].rungs)


def test_fixed_batches_and_indices(graph: Make) -> None:
    """Tokens are replaced where they are looked up, in batches as the model insists on."""

    def model(gain: float) -> ir.Model:
        table = ", ".join(str(gain * (n % 7)) for n in range(80))
        return graph(
            "g (int64[4, 6] x) => (float[4, 2] y)"
            f"<float[40, 2] table = {{{table}}}, int64[1] axis = {{1}}>"
            "{ e = Gather(table, x) y = ReduceSum<keepdims = 0>(e, axis) }"
        )

    tokens = RNG.integers(0, 40, (50, 6))
    ladder = measure_ladder(model(1.0), {"x": tokens})
    assert {rung.kind for rung in ladder.rungs} <= {"replaced tokens"}
    report = check(model(1.0), model(1.001), {"x": tokens}, min_sqnr=20.0)
    assert report.passed
