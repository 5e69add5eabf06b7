"""The steps of ``compress``: each makes a candidate of the best model so far, or says why not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from converter.compression.decisions import Decisions
from converter.compression.dedupe import deduplicate_all
from converter.compression.step_names import STEP_NAMES
from converter.compression.training_data import rungs_like
from converter.passes.deduplication.initializers import DedupeReport
from converter.pruning.model import Pruned, prune_prepared
from converter.pruning.prepare import Prepared, PruneOptions, prepare
from converter.pruning.search.limits import NO_LIMITS, SearchLimits
from converter.pruning.search.objective import share_of
from converter.pruning.search.savings import Target
from quantizers import QuantizeOptions, quantize_model
from quantizers.calibration.statistics import spread
from quantizers.low_bit.search import StoredWeights, store_weights
from quantizers.options import Prefer, with_effort
from runtimes.costs import Costs
from runtimes.data.dataset import Dataset
from runtimes.defects import Defect, contain
from runtimes.engines.ort import NO_SPINNING
from runtimes.engines.remembering import RememberingRuntime
from runtimes.errors import KilnxError
from runtimes.onnx_files.load_save import model_bytes
from runtimes.onnx_graph.fold_views import FoldViews
from runtimes.options import RunOptions
from runtimes.parity.budget import Budget
from runtimes.parity.check import check
from runtimes.parity.verdict import DEFAULT_SQNR_DB
from runtimes.stress.rungs import Rung
from runtimes.targets import Int8Form, find_target
from runtimes.targets import Target as ShippedOn

if TYPE_CHECKING:
    from converter.compression.recovery import Training


@dataclass(frozen=True)
class StepContext:
    """What a step may use: data that evaluation never sees, threads, a seed.

    ``budget`` is what all steps together may lose; ``floors`` are the agreement and the SQNR in dB
    that a candidate should reach on the calibration data. ``quantizes``: INT8 comes later.
    ``decisions`` of an earlier run stand in for searching; ``prefer`` says what counts; ``costs``
    is what kernels cost here (None: the table of this machine). ``effort`` of quantization and
    ``limits`` of the search for cuts are what the time allows; ``no_cuts`` says why it allows none.
    ``training`` recovers what pruning loses (None: nothing is trained); ``trained``: an earlier
    step did, and was kept. ``reference``: the file that the budget is about (None: the model that
    a step gets). ``target``: the runtime that it is for; ``left_out``: which steps that cannot
    take, and why. ``workers`` or a ``cluster`` share what does not change by it. ``rungs`` gives
    the perturbations under which candidates are judged.
    """

    calibration: Dataset
    run: RunOptions
    budget: Budget
    floors: tuple[float, float]
    quantizes: bool = False
    decisions: Decisions = Decisions()  # noqa: RUF009  # frozen
    prefer: Prefer = "balanced"
    costs: Costs | None = None
    effort: str = "default"
    limits: SearchLimits = NO_LIMITS
    no_cuts: str = ""
    training: Training | None = None
    trained: bool = False
    reference: Path | None = None
    target: ShippedOn = field(default_factory=find_target)
    left_out: Mapping[str, str] = field(default_factory=dict)
    workers: int = 1
    cluster: str | None = None
    rungs: Callable[[], Sequence[Rung]] = tuple


@dataclass(frozen=True)
class Outcome:
    """A candidate, or ``None`` with the reason why there is none; ``details`` for the report.

    ``less_aggressive``: makes an outcome that spends less, in case this one spends too much;
    ``between``: one between this and that which spent too much, in case this one does not.
    ``share``: what of the budget it may take, so that something is left for what comes next.
    """

    model: ir.Model | None
    reason: str
    details: dict[str, Any] = field(default_factory=dict)
    less_aggressive: Callable[[], Outcome | None] | None = None
    between: Callable[[], Outcome | None] | None = None
    share: float = 1.0


# What pruning may spend, so that quantization has something left: by its own search, and by the
# judge of all steps. (Training leaves more than it needs.)
_PRUNING_SHARE = 0.9
# Where INT8 is outside the budget: how often a mixture with less noise is tried, and how much less.
_MILDER_TRIES = 2
_MILDER_DB = 6.0
# For how long what was quantized is trained where it is outside the budget.
_ROUNDING_STEPS = 300
# What weights of fewer bits may spend on samples that they were chosen on, and how many of those.
_WEIGHTS_SHARE = 0.8
# The same next to a model that was trained, as noise. What it learned from does not show what it
# loses elsewhere, so samples tell that were held out of training and are changed like those in it.
_WEIGHTS_SHARE_TRAINED = 0.4
_WEIGHTS_SAMPLES = 512
# Where that is outside the budget: how often less is tried, and with which share of the noise.
_WEIGHTS_TRIES = 4
_LESS_NOISE = 0.4
# Smaller savings are not worth a file that is harder to read.
_LEAST_SAVED = 0.02
# Nor are more weights than what holds where they save less than this share beside it.
_WORTH_ANOTHER = 0.05

Step = Callable[[ir.Model, StepContext], Outcome]


def _dedupe(model: ir.Model, context: StepContext) -> Outcome:
    candidate = model.clone()
    found = deduplicate_all(candidate)
    if not found.merged and not found.nodes_removed:
        return Outcome(None, "no two weights are equal")
    return Outcome(candidate, _shared(found), found.to_dict())


def _shared(found: DedupeReport) -> str:
    """What was merged, in a line: how many, in which layers, how many bytes."""
    copies = sum(len(merge.replaced) for merge in found.merged)
    layers = list(dict.fromkeys(layer for merge in found.merged for layer in merge.layers))
    more = f" and {len(layers) - 3} more" if len(layers) > 3 else ""
    where = f" in {', '.join(layers[:3])}{more}" if layers else ""
    text = f"{copies} weights were copies of others{where}, {found.saved_bytes:,} bytes"
    if found.nodes_removed:
        text += f"; {found.nodes_removed} nodes computed what others compute"
    return text


def _prune(model: ir.Model, context: StepContext) -> Outcome:
    if context.no_cuts and context.decisions.plan is None:
        return Outcome(None, context.no_cuts)
    target = Target("latency", int8=context.quantizes)
    options = PruneOptions(
        target,
        context.decisions.plan,
        context.run.threads,
        context.run.seed,
        context.costs,
        context.limits,
        rungs_like(context.rungs(), model, context.calibration, context.run.seed),
    )
    # Weights that dedupe made views of are constants again while their channels are removed.
    separate = model.clone()
    FoldViews(only_ours=True)(separate)
    prepared = prepare(separate, context.calibration, options, context.run.tell)
    untrained: str | Defect = ""
    if context.training is not None and isinstance(prepared, Prepared):
        train = partial(_trained, prepared, context, options)
        trained = contain("training", train, lambda error: isinstance(error, KilnxError))
        if isinstance(trained, Pruned):
            return _pruned(trained)
        untrained = trained
    budget = share_of(context.budget, _PRUNING_SHARE)
    share = _PRUNING_SHARE if context.quantizes else 1.0
    pruned = prune_prepared(prepared, budget, options=options, progress=context.run.tell)
    return _pruned(pruned, untrained, share)


def _trained(prepared: Prepared, context: StepContext, options: PruneOptions) -> Pruned | str:
    """What training recovers, or why it does not pay."""
    from converter.pruning.recovered import prune_and_recover

    assert context.training is not None
    if context.decisions.plan is not None and context.decisions.schooling is None:
        return "the decisions that are replayed did not train"
    try:
        pruned = prune_and_recover(
            prepared,
            context.training.recovery(prepared),
            options=options,
            schooling=context.decisions.schooling,
            progress=context.run.tell,
        )
    except KilnxError as error:
        if context.training.asked:
            raise
        return str(error)
    return pruned if pruned.report.kept else pruned.report.reason


def _pruned(pruned: Pruned, untrained: str | Defect = "", share: float = 1.0) -> Outcome:
    report, less_aggressive = pruned.report, pruned.less_aggressive
    if untrained:
        report = replace(report, reason=f"{report.reason}; not trained: {untrained}")
    if isinstance(untrained, Defect):
        report = replace(report, defects=(*report.defects, untrained))
    if not report.kept and not report.exact:
        return Outcome(None, report.reason, report.to_dict())
    candidate = (pruned.model if report.kept else pruned.exact).clone()
    details = {**report.to_dict(), "dedupe": deduplicate_all(candidate).to_dict()}
    again = None if less_aggressive is None else lambda: _pruned(less_aggressive(), share=share)
    between = partial(_between, pruned, share)
    return Outcome(candidate, report.reason, details, again, between, share)


def _between(held: Pruned, share: float) -> Outcome | None:
    found = None if held.between is None else held.between()
    return None if found is None else _pruned(found, share=share)


def _quantize(model: ir.Model, context: StepContext) -> Outcome:
    if "quantize" in context.left_out:
        return Outcome(None, context.left_out["quantize"])
    return _quantized(model, context, *context.floors, tries=_MILDER_TRIES)


def _quantized(
    model: ir.Model, context: StepContext, agreement: float, sqnr_db: float, tries: int
) -> Outcome:
    """The fastest mixture that reaches these floors on the calibration data.

    What judges may be harsher than what calibrates: then one with less noise is the next best.
    """
    options = QuantizeOptions(
        threads=context.run.threads,
        measure=context.effort != "low",
        min_agreement=agreement,
        min_sqnr=sqnr_db,
        precisions=context.decisions.precisions or None,
        prefer=context.prefer,
        costs=context.costs,
        form=context.target.int8 or Int8Form(),
        workers=context.workers,
        cluster=context.cluster,
    )
    candidate, found = quantize_model(
        model,
        context.calibration,
        options=with_effort(options, context.effort),
        progress=context.run.tell,
    )
    int8 = sum(1 for operator in found.operators if operator.precision != "float32")
    if not int8:
        return Outcome(None, "no operator can run in INT8", found.to_dict())
    details = {**found.to_dict(), "dedupe": deduplicate_all(candidate).to_dict()}
    outcome = Outcome(candidate, f"{int8} of {len(found.operators)} operators in INT8", details)
    again: Callable[[], Outcome] | None = None
    if tries and context.prefer != "size":
        further = 1 - (1 - agreement) / 2, sqnr_db + _MILDER_DB
        again = partial(_quantized, model, context, *further, tries=tries - 1)
    if context.decisions.rounding_steps is not None:
        return _trained_int8(outcome, context, None)
    # A whole model takes long to train, and INT8 that is nearly right gains nothing: as asked only.
    if tries == _MILDER_TRIES and context.training is not None and context.training.asked:
        again = partial(_trained_int8, outcome, context, again)
    return replace(outcome, less_aggressive=again)


def _trained_int8(
    outcome: Outcome, context: StepContext, again: Callable[[], Outcome] | None
) -> Outcome:
    """What was quantized, trained through its rounding; ``again`` where that is not possible."""
    from quantizers.training.distill import Distilled, TrainingStopped

    candidate, training = outcome.model, context.training
    assert candidate is not None
    if training is None:
        return outcome
    steps = context.decisions.rounding_steps or _ROUNDING_STEPS
    train = partial(training.through_rounding, candidate, steps)
    skips = (KilnxError, TrainingStopped)
    trained: Distilled | Defect | str
    try:
        trained = contain("training", train, lambda error: isinstance(error, skips))
    except skips as error:
        trained = str(error)
    if not isinstance(trained, Distilled) or not trained.steps:
        return outcome if again is None else again()
    told = {"asked": steps, "steps": trained.steps, "reason": trained.reason}
    told |= {"before": trained.before, "after": trained.after}
    return Outcome(
        trained.model,
        f"{outcome.reason}, trained in {trained.steps} steps",
        {**outcome.details, "training": told},
        again,
    )


def _store_weights(model: ir.Model, context: StepContext) -> Outcome:
    if "weights" in context.left_out:
        return Outcome(None, context.left_out["weights"])
    if context.prefer == "speed":
        return Outcome(None, "weights in fewer bits are no faster, and speed is what counts")
    trained = context.trained
    budget = replace(share_of(context.budget, _WEIGHTS_SHARE), stress="none")
    if trained:
        agreement, decibels = context.floors
        budget = replace(
            budget,
            metric=None,
            drops=(),
            min_agreement=agreement,
            min_sqnr=max(decibels, DEFAULT_SQNR_DB) - 10 * math.log10(_WEIGHTS_SHARE_TRAINED),
        )
    if budget.metric is None:
        budget = replace(budget, max_drop=None)
    judging = spread(context.calibration, _WEIGHTS_SAMPLES, seed=1)
    if trained and context.training is not None:
        judging = context.training.held_out() or judging
    threads = context.run.threads
    compared = model if trained else context.reference or model
    reference = RememberingRuntime(compared, threads=threads, config=NO_SPINNING)

    def accept(candidate: ir.Model) -> bool:
        return check(reference, candidate, judging, budget=budget, threads=threads).passed

    found = store_weights(
        model,
        context.calibration,
        accept,
        options=QuantizeOptions(threads=context.run.threads),
        forms=context.decisions.storage,
    )
    if found is None:
        return Outcome(None, "no weight can do with fewer bits")
    return _stored(found, tries=_WEIGHTS_TRIES)


def _stored(found: StoredWeights, tries: int, refused: int = 0) -> Outcome:
    """The weights that were found, or with less noise where those are outside the budget.

    Once some hold, those between them and the last that did not, of which ``refused`` were stored.
    """
    if found.saved_bytes < _LEAST_SAVED * model_bytes(found.model):
        return Outcome(None, "weights in fewer bits save next to nothing inside the budget")
    less = found.with_less_noise(_LESS_NOISE) if tries else None
    again = None if less is None else partial(_stored, less, tries - 1, found.count)
    between = partial(_stored_between, found, found.count, refused)
    return Outcome(found.build(), found.describe(), found.to_dict(), again, between)


def _stored_between(found: StoredWeights, held: int, refused: int) -> Outcome | None:
    """Half of what lies between so many weights that held and so many that did not, if any."""
    middle = (held + refused) // 2
    if middle <= held:
        return None
    stored = replace(found, count=middle)
    most = replace(found, count=refused).saved_bytes - replace(found, count=held).saved_bytes
    if most < _WORTH_ANOTHER * (model_bytes(found.model) - stored.saved_bytes):
        return None
    fewer = partial(_stored_between, found, held, middle)
    more = partial(_stored_between, found, middle, refused)
    return Outcome(stored.build(), stored.describe(), stored.to_dict(), fewer, more)


_ALL = (_dedupe, _prune, _quantize, _store_weights)

STEPS: dict[str, Step] = dict(zip(STEP_NAMES, _ALL, strict=True))
"""In the order in which they run."""
