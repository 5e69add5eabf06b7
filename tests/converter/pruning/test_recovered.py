"""Pruning with training behind it: how far it goes, what the judge refuses, what is replayed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from converter.passes.shapes.infer_shapes import InferShapes
from converter.pruning.prepare import Prepared, PruneOptions, prepare
from converter.pruning.recovered import prune_and_recover
from converter.pruning.report import Schooling
from converter.pruning.search.savings import Target
from converter.pruning.trials import Judged, Recovery
from quantizers.training.distill import Distilled, TrainingStopped
from runtimes.data.dataset import Dataset
from runtimes.onnx_files.load_save import model_inputs
from runtimes.progress import silent

MACS = PruneOptions(Target("macs"))


@dataclass
class Trainer:
    """Trains nothing, and remembers how long it should have."""

    asked: list[tuple[int | None, int]] = field(default_factory=list)

    def train(self, student: ir.Model, steps: int | None = None, after: int = 0) -> Distilled:
        self.asked.append((steps, after))
        trained = student.clone()
        trained.metadata_props["steps"] = str((steps or 0) + after)
        return Distilled(trained, 1.0, 0.5, steps or 0)


def steps_of(model: ir.Model) -> int:
    """For how long it was trained."""
    return int(model.metadata_props.get("steps", 0))


def parameters(model: ir.Model) -> int:
    found = model.graph.initializers.values()
    return sum(value.const_value.size for value in found if value.const_value is not None)


@pytest.fixture
def prepared(graph: Callable[..., ir.Model]) -> Prepared:
    random = np.random.default_rng(0)
    shapes = {"A": (8, 32), "B": (32,), "C": (32, 24), "D": (24, 3)}
    arrays = {name: random.standard_normal(s).astype("f4") for name, s in shapes.items()}
    model = graph(
        "(float[N, 8] x) => (float[N, 3] y)",
        "h = MatMul(x, A) hb = Add(h, B) r = Relu(hb) g = MatMul(r, C) s = Relu(g) "
        "y = MatMul(s, D)",
        **arrays,
    )
    InferShapes()(model)
    data = Dataset.open(
        {"x": random.standard_normal((96, 8)).astype("f4")}, inputs=model_inputs(model)
    )
    found = prepare(model, data, MACS, silent)
    assert isinstance(found, Prepared)
    return found


ROUNDS = (3, 7)


def recovery(trainer: Trainer, least: int) -> Recovery:
    """A judge that refuses models of fewer than ``least`` parameters."""

    def judge(model: ir.Model) -> Judged:
        found = parameters(model)
        return Judged(found >= least, f"{found} parameters, at least {least}")

    return Recovery(trainer, judge, ROUNDS)


def test_it_goes_as_far_as_the_judge_allows(prepared: Prepared) -> None:
    trainer = Trainer()
    whole = parameters(prepared.exact)
    least = whole // 4
    found = prune_and_recover(prepared, recovery(trainer, least), options=MACS)
    assert found.report.kept
    assert least <= parameters(found.model) < 1.2 * least
    assert any(not one.passed for one in found.report.tried)
    training = found.report.training
    assert training is not None
    assert training.asked == sum(training.rounds) == steps_of(found.model)
    assert {steps for steps, _ in trainer.asked} == {*ROUNDS}


def test_what_passes_as_it_is_cut_is_not_trained_to_find_that_out(prepared: Prepared) -> None:
    trainer = Trainer()
    found = prune_and_recover(prepared, recovery(trainer, 0), options=MACS)
    untrained = [one for one in found.report.tried if "before any training" in one.reason]
    assert untrained
    assert trainer.asked == [(3, 0), (7, 3), (7, 10)]  # what ships is trained all the same
    assert found.report.training is not None
    milder = found.less_aggressive
    while milder is not None:
        pruned = milder()
        assert pruned.report.training is not None
        milder = pruned.less_aggressive


@dataclass
class Stopped(Trainer):
    """Trains ``first`` times, until the user stops it."""

    first: int = 0

    def train(self, student: ir.Model, steps: int | None = None, after: int = 0) -> Distilled:
        if len(self.asked) == self.first:
            raise TrainingStopped
        return super().train(student, steps, after)


@pytest.mark.parametrize("first", [0, 1, 3])
def test_a_user_who_stops_gets_what_was_trained(prepared: Prepared, first: int) -> None:
    trainer = Stopped(first=first)

    def judge(model: ir.Model) -> Judged:
        return Judged(steps_of(model) > 0, "trained or not")

    found = prune_and_recover(prepared, Recovery(trainer, judge, ROUNDS), options=MACS)
    assert sum(one.passed for one in found.report.tried) == first
    assert found.report.kept == bool(first)
    assert (parameters(found.model) < parameters(prepared.exact)) == bool(first)


def test_a_long_training_goes_further_than_short_ones_did(prepared: Prepared) -> None:
    whole = parameters(prepared.exact)

    def judge(model: ir.Model) -> Judged:
        least = whole // (6 if steps_of(model) >= 10 else 2)
        return Judged(parameters(model) >= least, "too small")

    found = prune_and_recover(prepared, Recovery(Trainer(), judge, ROUNDS), options=MACS)
    assert whole // 6 <= parameters(found.model) < whole // 3


def test_what_a_short_training_cannot_save_a_long_one_may(prepared: Prepared) -> None:
    least = parameters(prepared.exact) // 3

    def judge(model: ir.Model) -> Judged:
        return Judged(steps_of(model) >= 10 and parameters(model) >= least, "too small")

    found = prune_and_recover(prepared, Recovery(Trainer(), judge, ROUNDS), options=MACS)
    assert found.report.kept
    assert least <= parameters(found.model) < parameters(prepared.exact)


def test_where_long_trainings_save_nothing_few_are_enough(prepared: Prepared) -> None:
    trainer = Trainer()
    found = prune_and_recover(
        prepared, Recovery(trainer, lambda _: Judged(False, "no"), ROUNDS), options=MACS
    )
    assert not found.report.kept
    assert 0 < sum(steps == 7 for steps, _ in trainer.asked) <= 3


def test_what_is_far_outside_is_not_trained_on(prepared: Prepared) -> None:
    trainer = Trainer()

    def judge(_: ir.Model) -> Judged:
        return Judged(False, "far outside", 20.0)

    prune_and_recover(prepared, Recovery(trainer, judge, ROUNDS), options=MACS)
    assert {steps for steps, _ in trainer.asked} == {3}


def test_what_spends_less_comes_next(prepared: Prepared) -> None:
    found = prune_and_recover(
        prepared, recovery(Trainer(), parameters(prepared.exact) // 4), options=MACS
    )
    assert found.less_aggressive is not None
    milder = found.less_aggressive()
    assert parameters(milder.model) > parameters(found.model)
    assert milder.report.kept


def test_nothing_that_passes_keeps_nothing(prepared: Prepared) -> None:
    found = prune_and_recover(prepared, recovery(Trainer(), 10**9), options=MACS)
    assert not found.report.kept
    assert "no plan passes after training: " in found.report.reason
    assert found.report.plan == {}


def test_of_an_accepted_plan_the_longest_training_ships(prepared: Prepared) -> None:
    """Fewer errors on the few samples that judge are luck, less of a plan's own error is not."""
    least, extra = parameters(prepared.exact) // 4, sum(ROUNDS) + ROUNDS[1]

    def judge(model: ir.Model) -> Judged:
        if parameters(model) < least:
            return Judged(False, "far outside", 20.0, 0.2)
        return Judged(True, "inside", 1.6 if steps_of(model) >= extra else 0.7, 0.2)

    found = prune_and_recover(prepared, Recovery(Trainer(), judge, ROUNDS), options=MACS)
    assert steps_of(found.model) == extra
    assert parameters(found.model) < 1.2 * least


def test_a_target_is_not_passed(prepared: Prepared) -> None:
    options = PruneOptions(Target("macs", 0.5))
    found = prune_and_recover(prepared, recovery(Trainer(), 0), options=options)
    assert found.report.reached
    assert found.report.after is not None
    assert found.report.before is not None
    assert 0.3 < found.report.after.macs / found.report.before.macs <= 0.5


def test_decisions_are_carried_out_again(prepared: Prepared) -> None:
    first = prune_and_recover(
        prepared, recovery(Trainer(), parameters(prepared.exact) // 4), options=MACS
    )
    assert first.report.training is not None
    trainer = Trainer()
    again = prune_and_recover(
        prepared,
        recovery(trainer, 0),
        options=PruneOptions(Target("macs"), plan=first.report.plan),
        schooling=Schooling(first.report.training.rounds),
    )
    assert [steps for steps, _ in trainer.asked] == list(first.report.training.rounds)
    assert _bytes(again.model) == _bytes(first.model)


def _bytes(model: ir.Model) -> Any:
    found = model.graph.initializers.items()
    return {name: value.const_value.tobytes() for name, value in found if value.const_value}
