"""Groups of options stand among a command's own."""

from __future__ import annotations

import inspect
import os
from typing import Any

import pytest

from converter.cli.groups import BudgetGroup, RunGroup, grouped


@grouped
def command(model: str, budget: BudgetGroup, run: RunGroup, force: bool = False) -> object:
    return model, budget, run, force


def test_fields_are_options_of_the_command() -> None:
    names = list(inspect.signature(command).parameters)
    budget = ["metric", "max_drop", "min_agreement", "min_sqnr", "strict", "stress"]
    assert names == ["model", *budget, "threads", "seed", "force"]


def test_the_command_gets_its_groups() -> None:
    given: dict[str, Any] = {"metric": ["top1"], "max_drop": 0.1, "strict": True}
    given |= {"min_agreement": None, "min_sqnr": None, "stress": "none"}
    found = command(model="m", **given, threads=2, seed=3, force=True)
    assert found == (
        "m",
        BudgetGroup(["top1"], 0.1, None, None, True, "none"),
        RunGroup(2, 3),
        True,
    )
    budget = BudgetGroup(["top1:a", "r2:b"], 0.1).budget()
    assert (budget.drop, budget.metric) == (0.1, "top1:a,r2:b")
    budget = BudgetGroup(["top1:a=0.02", "r2:b"], 0.1).budget()
    assert (budget.metric, budget.drops, budget.drop) == ("top1:a,r2:b", (("top1:a", 0.02),), 0.02)
    assert found[1].budget().stress == "none"  # type: ignore[index]
    assert budget.stress == "default"
    assert RunGroup(2, 3).run().threads == 2


def test_tensorflow_gets_the_threads_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "TF_NUM_INTRAOP_THREADS"
    monkeypatch.setenv(name, "")  # so that the end restores what there was
    monkeypatch.delenv(name)
    assert RunGroup(threads=3).training().threads == 3
    assert os.environ[name] == "3"
    RunGroup(threads=2).training()
    assert os.environ[name] == "3"  # what the environment says stands
