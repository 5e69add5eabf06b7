"""check and evaluate on models that differ in known ways."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from runtimes import DataError, ModelError, RuntimeUnavailable, check, evaluate, open_runtime

Graph = Callable[[str], ir.Model]
Scaled = Callable[[float], ir.Model]


def labelled(scores: np.ndarray, wrong: int = 0) -> dict[str, np.ndarray]:
    labels = scores.argmax(axis=1)
    labels[:wrong] = (labels[:wrong] + 1) % scores.shape[1]
    return {"x": scores, "labels": labels}


def test_a_model_is_itself(scaled: Scaled, saved: Callable[..., Path], scores: Any) -> None:
    report = check(saved(scaled(1)), scaled(1), scores, batch_size=7)
    assert report.passed
    assert report.samples == 40
    (output,) = report.outputs
    assert (output.output, output.provider) == ("y", "cpu")
    assert (output.max_abs_error, output.agreement) == (0, 1)
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert document["passed"] is True
    assert document["outputs"][0]["sqnr_db"] is None  # infinite
    (row,) = report.rows()
    assert row["SQNR"] == "inf dB"
    assert row["agreement"] == "100.00%"


def test_a_small_change_is_found_and_judged(scaled: Scaled, scores: Any) -> None:
    report = check(scaled(1), scaled(1.01), scores)
    assert not report.passed
    assert report.outputs[0].max_abs_error == pytest.approx(0.04, rel=1e-4)
    assert report.outputs[0].sqnr_db == pytest.approx(40, abs=0.01)
    assert "largest error 0.04 is" in report.reason
    assert "× the reference's own rounding error" in report.reason
    assert check(scaled(1), scaled(1.01), scores, rtol=0.02).passed
    assert not check(scaled(1), scaled(1.01), scores, rtol=0.005).passed
    assert check(scaled(1), scaled(1.01), scores, atol=0.05).passed
    assert check(scaled(1), scaled(1.01), scores, min_sqnr=39).passed
    assert not check(scaled(1), scaled(1.01), scores, min_sqnr=41).passed
    assert check(scaled(1), scaled(1.01), scores, min_agreement=1).passed


def test_a_metric_is_what_counts_where_it_is_asked_for(scaled: Scaled, scores: Any) -> None:
    data = labelled(scores, wrong=4)
    report = check(scaled(1), scaled(-1), data, metric="top1", max_drop=0.1)
    assert not report.passed
    (metric,) = report.metrics
    assert (metric.reference, metric.name) == (0.9, "top1")
    assert metric.drop == pytest.approx(metric.reference - metric.candidate)
    assert f"drop {metric.drop:.4f} > 0.1" in report.reason
    assert check(scaled(1), scaled(3), data, metric="top1", max_drop=0).passed
    # Without a limit, one point in a hundred is allowed.
    report = check(scaled(1), scaled(3), data, metric="top1")
    assert report.passed
    assert "≤ 0.01 allowed" in report.reason


def test_labels_choose_the_metric_as_they_do_everywhere(scaled: Scaled, scores: Any) -> None:
    data = labelled(scores, wrong=4)
    report = check(scaled(1), scaled(3), data, max_drop=0.01)
    assert report.passed
    assert report.metrics[0].name == "top1"
    assert "the labels judge by top1; name another metric to change that" in report.notes
    assert not check(scaled(1), scaled(-1), data, max_drop=0.01).passed
    # Where nothing is asked, a float model has to be the same within rounding.
    report = check(scaled(1), scaled(3), data)
    assert not report.passed
    assert report.notes[-1] == (
        "top1 0.9000 → 0.9000 on cpu, which only informs; --max-drop judges by it"
    )
    # Tolerances are asked for, and then labels say nothing.
    assert check(scaled(1), scaled(3), data, rtol=0.1).metrics == ()
    assert not check(scaled(1), scaled(3), data, rtol=0.1).passed


def test_each_output_has_a_metric_of_its_own(graph: Graph, scores: Any) -> None:
    def model(first: float, second: float) -> ir.Model:
        return graph(
            "g (float[batch, 4] x) => (float[batch, 4] a, float[batch, 4] b)"
            f"<float[4] v = {{{first}, 1, 1, 1}}, float[4] w = {{1, {second}, 1, 1}}>"
            "{ a = Mul(x, v)\n b = Mul(x, w) }"
        )

    data = {"x": scores, "labels:a": scores.argmax(1), "labels:b": scores}
    report = check(model(1, 1), model(1, 1.3), data, max_drop=0.01)
    assert [metric.name for metric in report.metrics] == ["top1:a", "r2:b"]
    assert not report.passed
    assert report.reason.startswith("r2:b 1.0000 → 0.9")
    assert not check(model(1, 1), model(-9, 1), data, max_drop=0.01).passed
    assert check(model(1, 1), model(1, 1), data, metric=["top1:a", "mae:b"]).passed
    with pytest.raises(DataError, match="'top1:a' and 'mae:a' both judge the output 'a'"):
        check(model(1, 1), model(1, 1), data, metric="top1:a,mae:a")


def test_a_metric_where_less_is_better(scaled: Scaled, scores: Any) -> None:
    data = {"x": scores, "labels": scores}
    report = check(scaled(1), scaled(1.5), data, metric="mae", max_drop=1)
    assert report.metrics[0].reference == 0
    assert report.metrics[0].drop == pytest.approx(report.metrics[0].candidate)
    assert not report.passed


def test_a_quantized_candidate_gets_the_floors(graph: Graph, scaled: Scaled, scores: Any) -> None:
    def rounded(step: float) -> ir.Model:
        return graph(
            "q (float[batch, 4] x) => (float[batch, 4] y)"
            f"<float s = {{{step}}}, uint8 z = {{128}}>"
            "{ q = QuantizeLinear(x, s, z)\n y = DequantizeLinear(q, s, z) }"
        )

    fine = check(scaled(1), rounded(0.3), scores)
    assert fine.passed
    assert fine.reason.startswith("y: agreement 100.00% ≥ 99.00%, SQNR")
    coarse = check(scaled(1), rounded(4.5), scores)
    assert not coarse.passed
    assert "< 20 dB" in coarse.reason


def test_nan_of_the_candidate_fails_with_its_place(graph: Graph, scaled: Scaled) -> None:
    model = graph("g (float[batch, 4] x) => (float[batch, 4] y) { y = Sqrt(x) }")
    x = np.ones((50, 4), np.float32)
    x[37, 2] = -1
    report = check(scaled(1), model, {"x": x, "labels": np.zeros(50, int)}, metric="top1")
    assert (report.passed, report.reason) == (False, "y: NaN at sample 37, element [2]")
    assert report.metrics == ()
    with pytest.raises(ModelError, match="output 'y' is NaN at sample 37"):
        evaluate(model, {"x": x, "labels": np.zeros(50, int)}, "top1")


def test_a_reference_that_gives_nan_judges_nothing(graph: Graph, scaled: Scaled) -> None:
    model = graph("g (float[batch, 4] x) => (float[batch, 4] y) { y = Sqrt(x) }")
    with pytest.raises(ModelError, match="g: the output 'y' is NaN at sample 0; look for NaN in"):
        check(model, scaled(1), np.full((3, 4), -1, np.float32))


def test_another_shape_or_dtype_fails(graph: Graph, scaled: Scaled, scores: Any) -> None:
    flat = graph("g (float[batch, 4] x) => (float[n] y) <int64[1] s = {-1}> { y = Reshape(x, s) }")
    report = check(scaled(1), flat, scores)
    assert not report.passed
    assert "shape [128] instead of [32, 4] from sample 0 on" in report.reason
    double = graph("g (float[batch, 4] x) => (double[batch, 4] y) { y = Cast<to = 11>(x) }")
    assert "dtype float64 instead of float32" in check(scaled(1), double, scores).reason


def test_other_names_are_matched_by_place_and_said(
    graph: Graph, scaled: Scaled, scores: Any
) -> None:
    renamed = graph("g (float[n, 4] data) => (float[n, 4] logits) { logits = Identity(data) }")
    report = check(scaled(1), renamed, scores)
    assert report.passed
    assert "inputs matched by position: 'x' is 'data'" in report.notes
    assert "outputs matched by position: 'y' is 'logits'" in report.notes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(float[n, 4] x, float[n] z) => (float[n, 4] y) { y = Mul(x, x) }", "further input 'z'"),
        ("(double[n, 4] x) => (double[n, 4] y) { y = Mul(x, x) }", "take different inputs"),
        ("(float[n, 5] x) => (float[n, 5] y) { y = Mul(x, x) }", r"\[batch, 4\], g x: .*\[n, 5\]"),
        ("(float[n, 4] x) => (float[n, 4] a, float[n, 4] b) { a = Neg(x)\n b = Neg(x) }",
         "g has no output 'y' that scaled has; it has 'a', 'b'"),
    ],
)  # fmt: skip
def test_other_interfaces_are_refused(
    graph: Graph, scaled: Scaled, scores: Any, text: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        check(scaled(1), graph(f"g {text}"), scores)


def test_further_outputs_of_the_candidate_are_noted(
    graph: Graph, scaled: Scaled, scores: Any
) -> None:
    more = graph(
        "g (float[n, 4] x) => (float[n, 4] y, float[n, 4] z) { y = Add(x, x)\n z = Neg(x) }"
    )
    report = check(scaled(2), more, scores)
    assert report.passed
    assert report.notes == ("outputs of the candidate that the reference lacks: z",)


def test_fixed_batches_on_either_side(graph: Graph, scaled: Scaled, scores: Any) -> None:
    fixed = graph("g (float[16, 4] x) => (float[16, 4] y) { y = Add(x, x) }")
    for reference, candidate in ((fixed, scaled(2)), (scaled(2), fixed)):
        report = check(reference, candidate, scores, batch_size=100)
        assert report.passed
        assert report.samples == 40


def test_open_runtimes_are_used_and_left_open(scaled: Scaled, scores: Any) -> None:
    with open_runtime(scaled(2)) as runtime:
        assert check(runtime, scaled(2), scores).passed
        assert evaluate(runtime, labelled(scores), "top1") == 1
        assert check(scaled(2), runtime, scores).passed


def test_keras_is_a_reference(digits_model: Any, digits: Any, graph: Graph) -> None:
    test = {"image": digits[1]["image"][:40], "labels": digits[1]["labels"][:40]}
    found = evaluate(digits_model, test, "top1")
    expected = np.asarray(digits_model(test["image"])).argmax(-1) == test["labels"]
    assert found == expected.mean()
    zero = graph(
        "g (float[batch, 16, 16, 1] image) => (float[batch, 10] digit)"
        "<int64[2] axes = {1, 2}, int64[2] s = {0, -1}, float o = {0}>"
        "{ a = ReduceMax<keepdims = 0>(image, axes)\n b = Mul(a, o)\n c = Concat<axis = 1>"
        "(b, b, b, b, b, b, b, b, b, b)\n digit = Reshape(c, s) }"
    )
    report = check(digits_model, zero, test, metric="top1", max_drop=0.01)
    assert not report.passed
    assert report.reference == "small_digits"
    assert report.metrics[0].candidate == (test["labels"] == 0).mean()


def test_progress_is_told(scaled: Scaled, scores: Any) -> None:
    seen: list[tuple[int | None, int | None]] = []

    def progress(stage: str, done: int | None = None, total: int | None = None) -> None:
        assert stage == "comparing"
        seen.append((done, total))

    check(scaled(1), scaled(1), scores, batch_size=16, progress=progress)
    assert seen == [(16, 40), (32, 40), (40, 40)]


def test_bad_arguments(scaled: Scaled, scores: Any) -> None:
    with pytest.raises(DataError, match="max_drop is in the unit of a metric of labelled"):
        check(scaled(1), scaled(1), scores, max_drop=0.01)
    with pytest.raises(DataError, match="needs labels"):
        check(scaled(1), scaled(1), scores, metric="top1")
    with pytest.raises(DataError, match="sample 39 is 4, but must be a class index from 0 to 3"):
        evaluate(scaled(1), {"x": scores, "labels": np.r_[np.zeros(39, int), 4]}, "top1")
    with pytest.raises(RuntimeUnavailable, match="no provider 'moon'"):
        check(scaled(1), scaled(1), scores, providers=("cpu", "moon"))
    with pytest.raises(ValueError, match="at least one provider"):
        check(scaled(1), scaled(1), scores, providers=())


def test_labels_that_mean_nothing_here_do_not_stop_a_look_at_rounding(
    scaled: Scaled, scores: Any
) -> None:
    data = {"x": scores, "labels": np.zeros((len(scores), 7, 5), np.float32)}
    report = check(scaled(1), scaled(1), data)
    assert report.passed
    assert report.notes[-1].startswith("the labels are not looked at: the data: no metric follows")
    with pytest.raises(DataError, match="no metric follows"):
        check(scaled(1), scaled(1), data, max_drop=0.1)
