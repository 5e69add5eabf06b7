"""Every operator that can be trained through: values as ONNX Runtime has them, and gradients."""

from __future__ import annotations

import pytest
from trainable_cases.case import Case
from trainable_cases.table import all_cases
from trainable_checks import check_gradients, check_values, sampled

from quantizers.training.operators.table import TABLE

CASES = all_cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_values_are_those_of_onnx_runtime(case: Case) -> None:
    check_values(case)


@pytest.mark.parametrize(
    "case", sampled([case for case in CASES if case.differentiable], 3), ids=lambda case: case.label
)
def test_gradients_are_those_of_finite_differences(case: Case) -> None:
    check_gradients(case)


def test_every_operator_has_a_case() -> None:
    assert {(case.domain, case.op_type) for case in CASES} == set(TABLE)
