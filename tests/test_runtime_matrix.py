"""``benchmarks/runtime_matrix.py``: what its table shows of a cell, and what counts as wrong."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

pytestmark = pytest.mark.skipif(
    not BENCHMARKS.exists(), reason="benchmarks are in the repository only"
)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module("runtime_matrix_table")


def judged(state: str, decibels: float | None, *, passed: bool = True, why: str = "") -> Any:
    return {"state": state, "why": why, "passed": passed, "reason": "far", "sqnr_db": decibels}


def test_a_table_has_both_forms_in_a_cell_and_the_reasons_below(module: Any) -> None:
    matrix = {
        "net, float": {"cpu": judged("", float("inf")), "old": judged("", 120.4)},
        "net, INT8": {"cpu": judged("", 38.6), "old": judged("float", 120.4, why="no bytes")},
        "other, float": {"old": {"state": "refused", "why": "no Det"}},
    }
    table = module.table(matrix)
    assert "| `cpu` | exact / 39 | – / – |" in table
    assert "| `old` | 120 / float | refused / – |" in table
    assert "- `old`: no bytes (net, INT8)" in table
    assert "- `old`: no Det (other, float)" in table


@pytest.mark.parametrize(
    ("cell", "wrong", "text"),
    [
        (judged("", 12.0, passed=False), True, "WRONG 12"),
        (judged("", 33.0), False, "33"),
        ({"state": "CRASH", "why": "signal 11"}, True, "CRASH"),
        ({"state": "refused", "why": "no Det"}, False, "refused"),
        ({"state": "not installed", "why": "pip"}, False, "not installed"),
    ],
)
def test_a_file_outside_of_its_budget_is_wrong_and_a_refusal_is_not(
    module: Any, cell: Any, wrong: bool, text: str
) -> None:
    assert module.is_wrong(cell) is wrong
    assert module.shown(cell) == text
