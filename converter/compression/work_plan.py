"""A budget of time, turned into work before the work begins.

How long a search takes is predicted from the cost table (how long the model runs on a sample), the
number of samples and the size of the graph; what the budget allows is then counted: which effort,
how many plans. No decision reads a clock, so the same command does the same work on a busy machine;
it only takes longer there. The factors were measured on three models of 0.2 to 1.9 ms, on a machine
that was not idle: a prediction says which order of work fits, not when it ends.

A clock only watches over a budget that the user gave: at twice its time the search for cuts stops
with the best it has, and the report says that the answer may not be the same again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import onnx_ir as ir

from converter.pruning.prepare import Extent, extent_of
from converter.pruning.search.limits import NO_LIMITS, USUAL_PLANS, SearchLimits
from quantizers.calibration.kept_samples import SCORE_SAMPLES
from runtimes.costs import Costs, open_costs
from runtimes.data.dataset import Dataset
from runtimes.defects import Defect, contain
from runtimes.durations import seconds_of
from runtimes.engines.timed_feeds import timed_feeds
from runtimes.errors import DataError, KilnxError
from runtimes.onnx_files.load_save import model_inputs, weight_bytes
from runtimes.onnx_graph.flops import multiplies
from runtimes.onnx_graph.values import all_nodes
from runtimes.progress import duration

Effort = Literal["low", "default", "high"]
EFFORTS: tuple[Effort, ...] = ("low", "default", "high")

# A search of little effort tries so many plans; one of much has so many small steps.
_PLANS_OF_LITTLE = 4
_SMALL_STEPS_OF_MUCH = 10
# Times the budget: then the clock stops what the prediction was wrong about.
_SAFETY = 2.0
# Training visits so many samples, in the time that the whole model takes for so many: most of what
# it visits are pruned models. TensorFlow and the graphs take some seconds before.
_TRAINED_SAMPLES = 46_000
_TRAINING_STARTS = 30.0
# Where the number of samples is not known before they are read.
_SAMPLES = 1024


@dataclass(frozen=True)
class TimeBudget:
    """How long a command may take, and how hard it tries.

    Attributes:
        given: Seconds that the user stated; None leaves ``default``.
        default: Seconds that stand where nothing was stated: they limit what is tried, but refuse
            nothing.
        effort: ``low`` tries few plans and repairs nothing but biases, ``high`` tries more and also
            learns the rounding of weights.
        start: When the command began, by ``clock``.
    """

    given: float | None
    default: float
    effort: Effort = "default"
    start: float = 0.0
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def of(cls, stated: str | float | None, default: float, effort: str) -> TimeBudget:
        """The budget that options state; raises ``DataError`` for what is no time or no effort."""
        if effort not in EFFORTS:
            raise DataError(f"effort must be low, default or high, not {effort!r}")
        given = None if stated is None else seconds_of(stated)
        return cls(given, default, effort, time.monotonic())

    @property
    def seconds(self) -> float:
        """What there is."""
        return self.default if self.given is None else self.given

    def __str__(self) -> str:
        by = " (the default)" if self.given is None else ""
        return f"the time budget of {duration(self.seconds)}{by}"


@dataclass(frozen=True)
class Forecast:
    """Predicted seconds of each part: judging, quantization by effort, cuts and their training.

    ``calibration``: of the one pass over all data, whatever the effort.
    """

    judging: float
    quantize: dict[str, float]
    prune_prepare: float = 0.0
    prune_plan: float = 0.0
    training: float = 0.0
    calibration: float = 0.0

    @classmethod
    def of(
        cls,
        model: ir.Model,
        samples: tuple[Dataset, Dataset],
        costs: Costs,
        *,
        steps: int,
        calibrated: bool = False,
    ) -> Forecast:
        """What ``steps`` candidates of ``model`` take, with data that calibrate and that judge."""
        calibration, evaluation = samples
        feed = timed_feeds(calibration, model_inputs(model))[0]
        run = costs.predict(model, feed).microseconds / 1e6
        return cls(
            judging=3 + steps * (2 + 2 * run * _count(evaluation)),
            quantize=_quantization(model, run, _count(calibration)),
            calibration=0.0 if calibrated else run * _count(calibration),
        )

    def with_cuts(self, model: ir.Model, calibration: Dataset, costs: Costs) -> Forecast:
        """The same with the search for cuts."""
        extent: Extent = extent_of(model, calibration)
        feed = timed_feeds(calibration, model_inputs(model))[0]
        pass_ = costs.predict(model, feed).microseconds / 1e6 * extent.samples
        prepare = 2 + 2 * extent.groups * pass_ + 9 * pass_  # ranking, influence; the last repair
        training = _TRAINING_STARTS + _TRAINED_SAMPLES * pass_ / extent.samples
        plan = 1 + 9 * pass_
        return replace(self, prune_prepare=prepare, prune_plan=plan, training=training)


@dataclass(frozen=True)
class WorkPlan:
    """The work that a budget allows: the effort of quantization, the limits of the search for cuts.

    ``skipped``: why no cuts are searched for; ``trains``: whether what they leave is trained.
    ``notes`` say what the budget left out and what more
    time would bring; ``if_stopped``: the same of a search for cuts that met its limit.
    """

    budget: TimeBudget
    effort: Effort
    limits: SearchLimits
    forecast: Forecast
    skipped: str = ""
    trains: bool = True
    notes: tuple[str, ...] = ()
    if_stopped: str = ""

    def afterwards(self, stopped: str) -> tuple[str, ...]:
        """The notes, with a loud one where the clock ``stopped`` the search."""
        if stopped != "clock":
            told = stopped and self.if_stopped
            return (*self.notes, told) if told else self.notes
        loud = (
            f"NOT REPEATABLE: the search for cuts took more than twice {self.budget} and was "
            "stopped by the clock with the best it had; the same command may find something else. "
            "--decisions with this report repeats this answer; an idle machine, more time or "
            "--effort low give one that repeats itself"
        )
        return (loud, *self.notes)

    def to_dict(self) -> dict[str, Any]:
        """What a report says of it."""
        return {
            "time_budget_s": self.budget.given,
            "default_s": self.budget.default,
            "effort": self.effort,
            "plans": self.limits.plans,
            "trains": self.trains,
            "predicted_s": asdict(self.forecast),
        }


def planned(
    budget: TimeBudget,
    model: ir.Model,
    samples: tuple[Dataset, Dataset],
    costs: Costs | None,
    steps: Sequence[str],
    *,
    calibrated: bool = False,
) -> tuple[WorkPlan, list[Defect]]:
    """The work that ``budget`` allows on ``model`` in ``steps``; without limits where that fails.

    ``samples``: data that calibrate, and data that judge; ``calibrated``: the ranges of the former
    are known. Raises ``DataError`` for too small a
    budget of the user's.
    """

    def plan() -> WorkPlan:
        table = costs or open_costs()
        forecast = Forecast.of(model, samples, table, steps=len(steps), calibrated=calibrated)
        if "prune" in steps:
            forecast = forecast.with_cuts(model, samples[0], table)
        return plan_work(budget, forecast, quantizes="quantize" in steps, prunes="prune" in steps)

    found = contain("planning the time", plan, lambda error: isinstance(error, KilnxError))
    if not isinstance(found, Defect):
        return found, []
    nothing = Forecast(0.0, dict.fromkeys(EFFORTS, 0.0))
    return WorkPlan(budget, budget.effort, _limits(budget, None), nothing), [found]


def plan_work(budget: TimeBudget, forecast: Forecast, *, quantizes: bool, prunes: bool) -> WorkPlan:
    """Fit the work into ``budget``: first judging and INT8, which pay most for their time.

    Raises ``DataError`` where the user's budget is too small for anything, and says the least.
    """
    calibration = forecast.calibration if quantizes else 0.0
    least = forecast.judging + calibration
    least += forecast.quantize["low"] if quantizes else _least_cuts(forecast)
    if budget.given is not None and least > budget.given:
        raise DataError(
            f"a time budget of {duration(budget.given)} is too little for this model and these "
            f"data: the least is about {duration(math.ceil(least))}, less with fewer samples"
        )
    left = budget.seconds - forecast.judging - calibration
    effort, notes = budget.effort, list[str]()
    if quantizes:
        # The pass over all data takes what it takes: nothing that nobody asked for depends on it.
        room = left + calibration if budget.given is None else left
        effort = _affordable(budget.effort, forecast, room)
        if effort != budget.effort:
            more = forecast.quantize[budget.effort] - room
            notes.append(
                f"{budget} allows INT8 with {effort} effort only; about {duration(more)} more "
                f"would allow {budget.effort} effort, which mostly keeps more accuracy"
            )
        left -= forecast.quantize[effort]
    plan = WorkPlan(budget, effort, _limits(budget, None), forecast, notes=tuple(notes))
    if not prunes:
        return replace(plan, trains=False)
    return _with_training(_with_cuts(plan, left, required=not quantizes), left)


def _with_training(plan: WorkPlan, left: float) -> WorkPlan:
    """``plan`` with training, if there is time for it; little effort trains nothing."""
    if plan.skipped or plan.budget.effort == "low":
        return replace(plan, trains=False)
    lacking = plan.forecast.prune_prepare + plan.forecast.training - left
    if lacking <= 0:
        return plan
    note = (
        f"nothing is trained: {plan.budget} leaves no time for it; about {duration(lacking)} more "
        "would, or --recover"
    )
    return replace(plan, trains=False, notes=(*plan.notes, note))


def _with_cuts(plan: WorkPlan, left: float, *, required: bool) -> WorkPlan:
    """``plan`` with as many plans of cuts as there is time for."""
    forecast, budget = plan.forecast, plan.budget
    affordable = int((left - forecast.prune_prepare) // forecast.prune_plan)
    if affordable >= USUAL_PLANS:
        return plan
    if affordable < 1 and not required:
        more = duration(max(1.0, _least_cuts(forecast) - left))
        why = f"not searched for: {budget} leaves no time for cuts; about {more} more would"
        return replace(plan, skipped=why, notes=(*plan.notes, f"cuts were {why}"))
    plans = max(1, affordable)
    limits = _limits(budget, plans)
    if limits.plans != plans:  # little effort stops before
        return plan
    more = duration((USUAL_PLANS - plans) * forecast.prune_plan)
    note = (
        f"{budget} allows {plans} plan{'' if plans == 1 else 's'} of cuts; with about {more} more "
        "the search could go on to where it ends by itself"
    )
    return replace(plan, limits=limits, if_stopped=note)


def _limits(budget: TimeBudget, plans: int | None) -> SearchLimits:
    """The limits of an effort, and no more than ``plans`` plans."""
    if budget.effort == "low":
        plans = _PLANS_OF_LITTLE if plans is None else min(plans, _PLANS_OF_LITTLE)
    small = _SMALL_STEPS_OF_MUCH if budget.effort == "high" else NO_LIMITS.small_steps
    deadline = None if budget.given is None else budget.start + _SAFETY * budget.given
    return SearchLimits(plans, small, deadline, budget.clock)


def _affordable(wanted: Effort, forecast: Forecast, left: float) -> Effort:
    """The greatest effort up to ``wanted`` that fits; the least one where none does."""
    for effort in reversed(EFFORTS[: EFFORTS.index(wanted) + 1]):
        if forecast.quantize[effort] <= left:
            return effort
    return EFFORTS[0]


def _least_cuts(forecast: Forecast) -> float:
    return forecast.prune_prepare + forecast.prune_plan


def _quantization(model: ir.Model, run: float, samples: int) -> dict[str, float]:
    """Seconds by effort, on some of the samples: candidates, and the noise of every operator."""
    operators = sum(multiplies(node.op_type) for node in all_nodes(model))
    few = 16 if weight_bytes(model) < 40 * 2**20 else 4
    pass_ = run * min(samples, SCORE_SAMPLES)
    low = 1.5 + 4 * pass_
    default = low + 6 * pass_ + operators * (0.05 + 2 * run * few)
    return {"low": low, "default": default, "high": default + 30 * pass_ + operators}


def _count(data: Dataset) -> int:
    return _SAMPLES if data.num_samples is None else data.num_samples
