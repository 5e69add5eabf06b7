"""What cuts save of a model: of its latency by the cost table, or of what can be counted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import onnx_ir as ir

from converter.pruning.groups.selection import Selection
from converter.pruning.ranking.ranking import GroupRanking
from converter.pruning.repair.sums import Problem
from converter.pruning.search.allocation import Cut
from converter.pruning.search.cost import Cost, CostModel
from converter.pruning.search.int8_form import Form, as_float, int8_form
from converter.pruning.search.offers import counted_ratios, offered_cuts
from converter.pruning.search.plan import Plan, PlanKey, cut, key_of, select
from converter.pruning.search.sensitivity import Influence
from runtimes.costs import Costs
from runtimes.engines.timed_feeds import timed_feeds
from runtimes.onnx_files.load_save import model_inputs

Resource = Literal["latency", "macs", "parameters"]

# Of two cuts that save the same time the one with fewer parameters is better, a little.
_WEIGHT_OF_PARAMETERS = 0.1


@dataclass(frozen=True)
class Target:
    """The ``share`` of the cost that is enough; zero: as little as the budget allows.

    ``int8``: the model will run in INT8, so latency is that of its INT8 form.
    """

    resource: Resource
    share: float = 0.0
    int8: bool = False


class Savings:
    """What the cuts of one problem save of what ``target`` asks for.

    ``costs`` counts multiply-adds and parameters, ``table`` knows how long kernels take.
    """

    def __init__(
        self,
        problem: Problem,
        rankings: Sequence[GroupRanking],
        costs: CostModel,
        target: Target,
        table: Costs,
    ) -> None:
        self._problem, self._rankings, self._costs = problem, rankings, costs
        self._target, self._table = target, table
        self._forms: dict[PlanKey, Form] = {}
        self._offers: dict[tuple[PlanKey, Resource], list[list[Cut]]] = {}
        (self._feed,) = timed_feeds(problem.data, model_inputs(problem.reference))

    def offers(self, plan: Plan, influence: Influence, resource: Resource) -> list[list[Cut]]:
        """The further cuts that each group offers behind ``plan``, found once."""
        key = key_of(plan), resource
        if key not in self._offers:
            self._offers[key] = self._find_offers(plan, influence, resource)
        return self._offers[key]

    def _find_offers(self, plan: Plan, influence: Influence, resource: Resource) -> list[list[Cut]]:
        problem, rankings = self._problem, self._rankings
        kept = select(problem, rankings, plan)
        if resource != "latency":
            ratios = counted_ratios(self._costs, kept, resource)
            return offered_cuts(problem, rankings, plan, influence, ratios)
        parameters = counted_ratios(self._costs, kept, "parameters")
        form = self._form(plan)

        def predicted(selections: Sequence[Selection]) -> list[float]:
            models = (form(cut(problem, one)) for one in (kept, *selections))
            now, *times = self._table.latencies(models, self._feed)
            return [
                weighed(min(time / now, 1.0), left)
                for time, left in zip(times, parameters(selections), strict=True)
            ]

        return offered_cuts(problem, rankings, plan, influence, predicted)

    def count(self, plan: Plan) -> Cost:
        """Multiply-adds and parameters of what ``plan`` leaves."""
        return self._costs.count(select(self._problem, self._rankings, plan))

    def share(self, model: ir.Model, plan: Plan, before: Plan) -> float:
        """What is left of the whole model's cost in ``model``, which was cut by ``plan``.

        The step led there from the plan ``before``, of which is known what runs in INT8.
        """
        if self._target.resource != "latency":
            return self.counted_share(plan, self._target.resource)
        (left,) = self._table.latencies([self._form(before)(model)], self._feed)
        return left / self._whole

    def counted_share(self, plan: Plan, resource: Literal["macs", "parameters"]) -> float:
        """What ``plan`` leaves of the whole model's multiply-adds or parameters."""
        everything = self._problem.dependencies.everything()
        ratios = counted_ratios(self._costs, everything, resource)
        return ratios([select(self._problem, self._rankings, plan)])[0]

    @cached_property
    def _whole(self) -> float:
        """Microseconds of the model that nothing was taken from."""
        whole = self._form({})(self._problem.reference)
        return self._table.latencies([whole], self._feed)[0]

    def _form(self, plan: Plan) -> Form:
        """What the model will be when it runs, decided for the channels that ``plan`` leaves."""
        if not self._target.int8:
            return as_float
        key = key_of(plan)
        if key not in self._forms:
            problem = self._problem
            model = cut(problem, select(problem, self._rankings, plan))
            form = int8_form(model, problem.data, problem.options.threads, self._table)
            self._forms[key] = form
        return self._forms[key]


def weighed(left: float, parameters: float) -> float:
    """What is left of the cost and of the parameters, in one number."""
    return left * math.pow(parameters, _WEIGHT_OF_PARAMETERS)
