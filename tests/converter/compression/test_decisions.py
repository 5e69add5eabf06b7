"""Decisions are read out of every report that kilnx writes, and out of nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from converter.compression.decisions import Decisions
from runtimes.errors import DataError

OPERATORS = [{"name": "a", "precision": "int8"}, {"name": "b", "precision": "float32"}]
PRECISIONS = {"a": "int8", "b": "float32"}


def test_a_report_of_compress_decides_every_step(tmp_path: Path) -> None:
    steps = [
        {"name": "prune", "kept": False, "details": {"plan": {"g": 3}}},
        {"name": "quantize", "kept": True, "details": {"operators": OPERATORS}},
    ]
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"steps": steps}))
    expected = Decisions({"prune": False, "quantize": True}, PRECISIONS, {"g": 3})
    assert Decisions.open(path) == Decisions.open({"steps": steps}) == expected


def test_a_report_without_details_decides_what_it_can() -> None:
    found = Decisions.open({"steps": [{"name": "dedupe", "kept": True}]})
    assert found == Decisions({"dedupe": True}, {}, None)


def test_reports_of_single_steps() -> None:
    quantized = Decisions.open({"operators": OPERATORS, "kept": False})
    assert quantized == Decisions({"quantize": False}, PRECISIONS)
    assert Decisions.open({"plan": {"g": 3}}) == Decisions({"prune": True}, plan={"g": 3})


def test_a_mapping_of_steps() -> None:
    assert Decisions.open({"prune": False}) == Decisions({"prune": False})


@pytest.mark.parametrize(
    "document",
    [
        {"something": 1},
        {"steps": 3},
        {"steps": [{"kept": True}]},
        {"operators": [{"name": "a"}]},
        {"plan": {"g": "many"}},
    ],
)
def test_other_documents_are_refused(document: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"not a report of kilnx.*--json"):
        Decisions.open(document)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.json cannot be read"):
        Decisions.open(tmp_path / "missing.json")
    for name, text in (("broken.json", "{"), ("list.json", "[]")):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=rf"{name} is not a report"):
            Decisions.open(tmp_path / name)


def test_a_document_too_deep_to_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match="is not a report"):
        Decisions.open(path)
