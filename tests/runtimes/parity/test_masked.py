"""What a mask wrote hides nothing: outputs are compared where they carry information."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from converter.export.proof.differences import allowed_error, max_error
from runtimes.parity.check import check
from runtimes.parity.masked import masked_elements
from runtimes.parity.output_error import OutputParity, ParityAccumulator

RNG = np.random.default_rng(0)


def compared(reference: Any, candidate: Any, batch: int = 16) -> OutputParity:
    found = ParityAccumulator("y", "cpu")
    reference, candidate = np.float32(reference), np.float32(candidate)
    for start in range(0, len(reference), batch):
        rows = slice(start, start + batch)
        found.update(reference[rows], candidate[rows], np.arange(len(reference))[rows])
    return found.result()


def masked(logits: Any, legal: Any, constant: float) -> Any:
    return np.where(legal, logits, constant)


@pytest.mark.parametrize("constant", [-1e9, -1e4, float(np.finfo("f").min), 1e6, -np.inf])
@pytest.mark.parametrize("batch", [1, 16])
def test_numbers_are_those_of_the_elements_that_are_not_masked(constant: float, batch: int) -> None:
    logits = RNG.normal(size=(64, 5))
    wrong = logits + 0.3
    legal = RNG.random(logits.shape) < 0.6
    legal[:2] = True
    found = compared(masked(logits, legal, constant), masked(wrong, legal, constant), batch)
    assert found.problem is None
    signal = (np.float32(logits)[legal].astype("d") ** 2).sum()
    assert found.sqnr_db == pytest.approx(10 * np.log10(signal / (0.09 * legal.sum())), abs=1e-3)
    assert found.max_abs_error == pytest.approx(0.3, abs=1e-6)
    assert found.reference_peak == pytest.approx(np.abs(logits[legal]).max(), rel=1e-6)
    if np.isfinite(constant):
        assert (found.mask, found.masked) == (
            (pytest.approx(constant, rel=1e-5),),
            int((~legal).sum()),
        )


def test_an_additive_mask_rounds_and_is_one_all_the_same() -> None:
    logits = RNG.normal(size=(64, 6), scale=9)
    bias = np.where(RNG.random(logits.shape) < 0.5, 0.0, np.float32(-1e9))
    found = compared(np.float32(logits) + np.float32(bias), np.float32(logits + 0.1) + bias)
    assert found.masked == int((bias != 0).sum())
    assert found.max_abs_error < 0.2


def test_what_is_no_longer_masked_is_another_answer() -> None:
    logits = RNG.normal(size=(64, 5))
    legal = RNG.random(logits.shape) < 0.6
    reference = masked(logits, legal, -1e9)
    candidate = reference.copy()
    row, column = np.argwhere(~legal)[7]
    candidate[row, column] = -20.0
    problem = compared(reference, candidate).problem
    assert problem == f"masked elements (-1e+09) differ by 100% at sample {row}"


def test_columns_are_judged_without_what_is_masked() -> None:
    """A mask in one column makes no quantity of it, beside which others are small."""
    logits = RNG.normal(size=(200, 4))
    legal = np.ones(logits.shape, bool)
    legal[:, 0] = RNG.random(200) < 0.5
    found = compared(masked(logits, legal, -1e9), masked(logits, legal, -1e9))
    assert (found.kind, found.agreement) == ("classes", 1.0)


@pytest.mark.parametrize(
    "values",
    [
        RNG.normal(size=(300, 4)) * [1, 1, 1, 5000],  # a column of its own size
        np.concatenate([RNG.normal(size=(300, 3)), RNG.uniform(1005, 1020, (300, 1))], 1),
        np.where(np.arange(1200).reshape(300, 4) == 7, 900.0, RNG.normal(size=(300, 4))),
        RNG.integers(0, 256, (300, 4)),
    ],
    ids=["large column", "pressures", "one outlier", "gray levels"],
)
def test_large_values_that_say_something_are_no_mask(values: Any) -> None:
    found = compared(values, np.asarray(values) * 1.001)
    assert (found.mask, found.masked) == ((), 0)
    assert found.reference_peak == pytest.approx(np.abs(values).max(), rel=1e-6)


def test_the_proof_of_an_export_does_not_go_by_the_peak_of_a_mask() -> None:
    logits = np.float32(RNG.normal(size=(3, 8)))
    reference = np.where(RNG.random(logits.shape) < 0.5, logits, np.float32(-1e9))
    found = np.where(reference == -1e9, reference, logits + np.float32(0.01))
    assert max_error(reference, found) == pytest.approx(0.01, rel=1e-3)
    assert allowed_error(reference) < 1e-3
    assert max_error(reference, np.where(reference == -1e9, np.float32(-5), logits)) > 1e8
    assert masked_elements(logits).sum() == 0


def test_check_refuses_logits_that_are_wrong_beside_a_mask() -> None:
    def model(scale: float) -> ir.Model:
        return ir.from_onnx_text(
            '<ir_version: 8, opset_import: ["" : 17]>'
            "g (float[batch, 4] x) => (float[batch, 4] y)\n"
            f"<float[4] w = {{{scale}, 1, 1, 1}}, float zero = {{0}}, float no = {{-1e9}}> {{\n"
            "  legal = Greater (x, zero)\n"
            "  z = Mul (x, w)\n"
            "  y = Where (legal, z, no)\n}"
        )

    data = np.float32(RNG.normal(size=(40, 4)))
    report = check(model(1.0), model(1.2), data)
    assert not report.passed
    masked_here = int((data <= 0).sum())
    assert report.notes[-1] == (
        f"y: {masked_here} of 160 elements are masked (-1e+09) and compared apart from the rest"
    )
    assert check(model(1.0), model(1.0), data).passed
