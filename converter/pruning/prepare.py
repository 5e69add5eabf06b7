"""What every kind of pruning begins with: the exact part, the problem, and the rankings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import onnx_ir as ir

from converter.pruning.exact.dead_channels import Removed, remove_dead
from converter.pruning.groups.dependencies import find_dependencies
from converter.pruning.groups.selection import Dependencies, Selection
from converter.pruning.ranking.ranking import GroupRanking, rank_groups
from converter.pruning.repair.sums import Problem
from converter.pruning.repair.tolerance import bears
from converter.pruning.repair.walk import WalkOptions
from converter.pruning.report import PruningReport, TriedReport, describe_exact, report_groups
from converter.pruning.search.chain import Cuts
from converter.pruning.search.cost import Cost, CostModel
from converter.pruning.search.limits import NO_LIMITS, SearchLimits
from converter.pruning.search.plan import Plan
from converter.pruning.search.savings import Target
from quantizers.calibration.statistics import spread
from runtimes.costs import Costs, open_costs, search_costs
from runtimes.data.dataset import Dataset
from runtimes.onnx_files.load_save import model_inputs
from runtimes.progress import Progress
from runtimes.readable import times
from runtimes.stress.mixture import Perturbation
from runtimes.stress.noise import measure_noise

# Work grows with samples times multiply-adds; beyond this, more samples teach little.
_MOST_SAMPLES = 1024
_LEAST_SAMPLES = 64
_MOST_WORK = 5e11
# Each of four models is fitted on three quarters of the samples and judged on the rest.
_FEWEST = 8

_AS_FAST_AS_CAN_BE = Target("latency")


@dataclass(frozen=True)
class PruneOptions:
    """What ``prune_model`` obeys.

    ``target``: what to save on and how much is enough. ``plan``: the decision of an earlier run,
    which is carried out again instead of searching. ``threads`` of a run; ``seed`` of all draws.
    ``costs``: what latency is taken from (None: those of this machine). ``limits`` of the search.
    ``rungs``: perturbations, drawn from the data, under which models will be judged, too.
    """

    target: Target = _AS_FAST_AS_CAN_BE
    plan: Plan | None = None
    threads: int = 1
    seed: int = 0
    costs: Costs | None = field(default=None, compare=False)
    limits: SearchLimits = field(default=NO_LIMITS, compare=False)
    rungs: Sequence[Perturbation] = field(default=(), compare=False)


@dataclass(frozen=True)
class Prepared:
    """A model without what changes nothing, and what is known of the channels of the rest.

    ``removed`` is what the exact part took.
    """

    exact: ir.Model
    removed: tuple[Removed, ...]
    problem: Problem
    rankings: tuple[GroupRanking, ...]
    costs: CostModel
    options: PruneOptions

    @cached_property
    def cuts(self) -> Cuts:
        """What may go, with the influence of the groups, measured once for all searches."""
        options = self.options
        target, threads = options.target, options.threads
        if target.resource == "latency" and target.share:  # that of this machine is asked for
            table = options.costs or open_costs(threads=threads)
        else:
            table = search_costs(options.costs, threads)
        return Cuts.measure(self.problem, self.rankings, self.costs, target, table)

    @property
    def found_exactly(self) -> str:
        """What went without any change, in words."""
        return describe_exact(self.removed)

    def report(  # noqa: PLR0917
        self,
        plan: Plan,
        kept: Selection,
        reason: str,
        tried: tuple[TriedReport, ...],
        reached: bool,
        stopped: str = "",
    ) -> PruningReport:
        """The report of a plan that leaves what is ``kept``."""
        everything = self.problem.dependencies.everything()
        data = self.problem.data
        exactly = f"; without any change: {self.found_exactly}" if self.found_exactly else ""
        return PruningReport(
            kept=bool(plan),
            reached=reached,
            reason=reason + exactly,
            exact=self.removed,
            groups=report_groups(self.problem.dependencies, kept),
            plan=plan,
            tried=tried,
            before=self.costs.count(everything),
            after=self.costs.count(kept),
            notes=(f"pruned with {data.num_samples} samples of {data.name}",),
            stopped=stopped,
        )

    def saved(self, kept: Selection) -> str:
        """What is gone, in words."""
        everything = self.problem.dependencies.everything()
        gone = sum(branch.is_gone(kept) for branch in self.problem.branches)
        return _saved(self.costs.count(everything), self.costs.count(kept), gone)


@dataclass(frozen=True)
class Nothing:
    """A model without what changes nothing, where nothing else can go; the report says why."""

    exact: ir.Model
    report: PruningReport


def prepare(
    model: ir.Model, data: Dataset | None, options: PruneOptions, progress: Progress
) -> Prepared | Nothing:
    """Do the exact part on a copy of ``model`` and rank the channels of the rest."""
    exact = model.clone()
    removed = remove_dead(exact)
    dependencies = find_dependencies(exact)
    missing = _missing(data, dependencies)
    if missing or data is None:
        why = f"{missing}, so only what changes no result could go: "
        why += describe_exact(removed) or "there is nothing of the kind"
        groups = report_groups(dependencies, dependencies.everything())
        reached = not options.target.share
        report = PruningReport(False, reached, why, removed, groups, {}, (), None, None)
        return Nothing(exact, report)
    data = _enough(exact, dependencies, data, options.seed)
    walk = WalkOptions(batch_size=_batch_size(data), threads=options.threads)
    noise = measure_noise(data, options.seed)
    borne = noise if noise.spreads and bears(exact, data, noise, options.threads) else None
    problem = Problem(exact, dependencies, data, walk, options.seed, borne, options.rungs)
    costs = CostModel(exact, dependencies, data)
    progress("ranking channels")
    return Prepared(exact, removed, problem, tuple(rank_groups(problem)), costs, options)


@dataclass(frozen=True)
class Extent:
    """How much work pruning a model is: the samples that are used, and the groups of channels."""

    samples: int
    groups: int


def extent_of(model: ir.Model, data: Dataset) -> Extent:
    """The extent for ``data``; nothing of it is pruned, and ``model`` stays as it is."""
    dependencies = find_dependencies(model)
    used = _enough(model, dependencies, data.bind(model_inputs(model)), 0)
    return Extent(used.num_samples or _MOST_SAMPLES, len(dependencies.groups))


def _saved(before: Cost, after: Cost, gone: int) -> str:
    branches = f"{gone} residual branch{'es' if gone > 1 else ''} gone, " if gone else ""
    return branches + (
        f"{times(max(1, before.macs) / max(1, after.macs))} fewer multiply-adds, "
        f"{times(max(1, before.parameters) / max(1, after.parameters))} fewer parameters"
    )


def _missing(data: Dataset | None, dependencies: Dependencies) -> str:
    """What stands against pruning at all; empty if nothing does."""
    if not any(group.is_open for group in dependencies.groups):
        return "no channel of this model can go"
    if data is None:
        return "no data were given"
    samples = data.num_samples or 0
    if samples < _FEWEST:
        return f"{data.name} holds {samples} samples for pruning, and it takes {_FEWEST} at least"
    return ""


def _enough(model: ir.Model, dependencies: Dependencies, data: Dataset, seed: int) -> Dataset:
    """As many samples as are worth their time, from all over the data."""
    macs = CostModel(model, dependencies, data).count(dependencies.everything()).macs
    most = min(_MOST_SAMPLES, max(_LEAST_SAMPLES, int(_MOST_WORK / max(1, macs))))
    return spread(data, most, seed)


def _batch_size(data: Dataset) -> int:
    """Several batches, so that every draw of rows comes from all over the data."""
    return max(1, min(32, (data.num_samples or 1) // 4))
