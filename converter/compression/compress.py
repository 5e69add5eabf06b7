"""``compress``: run the steps, measure each, keep it or roll it back with a reason."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from converter.compression.attempts import Candidate, run_steps
from converter.compression.decisions import Decisions, DecisionSource
from converter.compression.device import costs_of, notes_of_device, require_device
from converter.compression.early import EarlyData
from converter.compression.gain import check_preference
from converter.compression.judge import Judge
from converter.compression.output_folder import ship, write_report
from converter.compression.preprocessing import notes_of_preprocessing
from converter.compression.samples import Samples, listed_calibration, open_judged
from converter.compression.simplify import simplified
from converter.compression.step_names import refuse_unknown_steps
from converter.compression.steps import STEPS, StepContext
from converter.compression.targeted import Shipped, fitted, preferred, refuse_wrong
from converter.compression.training_samples import looks_like_training
from converter.compression.work_plan import Effort, TimeBudget, planned
from converter.report.analysis import analyze
from converter.report.report import (
    Judged,
    Measured,
    Report,
    StepReport,
    files_not_reported,
)
from quantizers.options import Prefer
from quantizers.rewrites.prepare import refuse_quantized
from runtimes.atomic_files import atomic_folder
from runtimes.costs import CostsSource
from runtimes.defects import Defect, callers_own, contain
from runtimes.engines.elsewhere import Elsewhere
from runtimes.engines.open_runtime import is_keras
from runtimes.errors import KilnxError, ModelError
from runtimes.keras_models.loss_meaning import Loss
from runtimes.metrics.metric import open_metrics
from runtimes.onnx_files.load_save import (
    load_model,
    model_outputs,
    refuse_nan_weights,
    write_model,
)
from runtimes.options import KerasOptions, RunOptions, flat_options
from runtimes.parity.budget import Budget, search_floors, without_labels
from runtimes.parity.report import ParityReport
from runtimes.targets import Target

if TYPE_CHECKING:
    from converter.compression.recovery import Training


@dataclass(frozen=True)
class CompressOptions:
    """What ``compress`` does, beside what loss is acceptable.

    Attributes:
        steps: The steps that are tried, in their own order: ``dedupe``, ``prune``,
            ``quantize``, ``weights``.
        provider: Execution provider to measure on.
        decisions: An earlier ``report.json`` whose decisions are replayed.
        force: Whether what kilnx wrote to ``output`` before is replaced.
        prefer: What a step is kept for: ``balanced`` (faster, or smaller and no slower), ``speed``,
            or ``size``, slower or not.
        costs: What kernels cost: a cost table or its file; ``none`` measures anew and keeps
            nothing; None takes and fills the table of this machine in the user's cache.
        trust_costs: Whether a table of another machine decides, so that it decides for that one.
        time_budget: How long it may take: seconds, or text such as ``"5m"``. Work is planned by
            predicted cost, so that no clock decides; None plans for 10 minutes.
        effort: ``low`` tries few cuts and repairs nothing but biases; ``high`` tries more and also
            learns the rounding of weights.
        recover: Whether pruned models are trained to answer like the whole one, so that more can
            go; None: where TensorFlow is installed and it does not take long.
        keep_best: Whether Ctrl-C during a training ends the training, and the best until then goes
            on to the other steps; else it ends the program, and nothing is written.
        target: The runtime that the model ships on, by name; None: ONNX Runtime, or that of the
            decisions.
        device: Where to measure and judge in place of this machine: a ``runtimes.Device``.
        workers: Processes of this machine that share what the noise of operators is measured by.
        cluster: Address of a Dask scheduler, ``tcp://host:8786``, whose workers share it instead.
    """

    steps: Sequence[str] = tuple(STEPS)
    provider: str = "cpu"
    decisions: DecisionSource | None = None
    force: bool = False
    prefer: Prefer = "balanced"
    costs: CostsSource = None
    trust_costs: bool = False
    time_budget: str | float | None = None
    effort: Effort = "default"
    recover: bool | None = None
    keep_best: bool = False
    target: Target | str | None = None
    device: Elsewhere | None = None
    workers: int = 1
    cluster: str | None = None


_DEFAULT_SECONDS = 600.0


@flat_options(
    {"min_sqnr_db": "min_sqnr"},
    budget=Budget,
    options=CompressOptions,
    keras=KerasOptions,
    run=RunOptions,
)
def compress(
    model: Any,
    output: str | os.PathLike[str],
    data: Any,
    *,
    evaluate_on: Any = None,
    budget: Budget = Budget(),
    options: CompressOptions = CompressOptions(),
    keras: KerasOptions = KerasOptions(),
    run: RunOptions = RunOptions(),
) -> Report:
    """Make ``model`` smaller and faster inside one budget, and write what was found.

    A step is kept only if the model stays inside the budget, on data that it was not made from, and
    gets faster, or smaller without getting slower, by what its kernels cost on this machine; a race
    confirms it. So the same command gives the same file. A step that fails is rolled back
    like any other and says so; the rest goes on. The fields of all four dataclasses are taken as
    keywords, too.

    Args:
        model: An ONNX file or ``onnx_ir.Model``, a live Keras model, or what ``convert`` takes.
        output: The folder to write: ``model.onnx``, ``fp32.onnx``, ``report.json`` and
            ``report.html``, all or nothing.
        data: What ``Dataset.open`` takes; calibrates.
        evaluate_on: The same; judges. Without it, ``data`` is split, so that evaluation never
            sees a sample of calibration.
        budget: What loss is acceptable. Without a ``metric``, the labels choose one; without
            labels, floors of agreement and SQNR stand for it.
        options: Which steps, where to measure, decisions to replay, whether to replace.
        keras: How a Keras file is read.
        run: Threads, seed and progress.

    Returns:
        What was measured of each step, and why it was kept or not.

    Raises:
        DataError: The data do not fit, ``output`` exists, a step does not, or the time budget is
            too small for anything.
        ModelError: The file cannot be read, holds NaN, or does not run on the target.
        RuntimeUnavailable: There is no such provider, or the target's engine is not installed.
        UnsupportedOperator: An operator of the Keras model cannot be exported.
        BudgetError: The decisions keep a step that is outside the budget here.

    Example:
        >>> report = compress("model.onnx", "out", "samples.npz", steps=["dedupe"])
        >>> [(step.name, step.kept, step.reason) for step in report.steps]
        [('dedupe', False, 'no two weights are equal')]
    """
    check_preference(options.prefer)
    time_budget = TimeBudget.of(options.time_budget, _DEFAULT_SECONDS, options.effort)
    refuse_unknown_steps(options.steps, STEPS)
    require_device(options, [options.provider])  # said before a model is exported
    source = options.decisions
    decisions = None if source is None else Decisions.open(source)
    ships_on = Shipped.of(options.target, decisions, provider=options.provider, steps=options.steps)
    place: dict[str, Any] = {
        "force": options.force,
        "inputs": (model, data, evaluate_on, keras.weights, source),
        "foreign": files_not_reported,
    }
    run = replace(run, progress=callers_own(run.progress))
    costs = costs_of(options, run) if ships_on.provider == "cpu" else None
    with atomic_folder(output, **place) as folder:
        early = EarlyData(data, evaluate_on, budget)
        run.tell("exporting")
        reference = folder / "fp32.onnx"
        origin = _reference(model, reference, keras, early)
        fp32 = _fitted(origin.graph, reference, ships_on.target, int8="quantize" in options.steps)
        if "quantize" in options.steps:
            refuse_quantized(fp32)
        called = str(getattr(model, "name", None) or model)
        refuse_nan_weights(fp32, called)
        samples, budget, labels = open_judged(
            fp32, early.calibration, early.evaluation, budget, run.seed, origin.losses
        )
        judge = Judge(
            *(reference, samples.evaluation, budget, ships_on.provider, run),
            *(
                preferred(options.prefer, ships_on.target),
                costs,
                ships_on.judged_in,
                options.device,
            ),
        )
        told = refuse_wrong(fp32, samples.evaluation, ships_on.target, run.threads)
        run.tell("measuring fp32")
        try:
            baseline, failed = _baseline(judge)
        except ModelError as error:  # of the file that the user knows
            raise ModelError(str(error).replace(str(reference), called)) from error
        doubted = (*labels.doubts(baseline.metric), *_known_samples(judge, samples, baseline))
        del labels  # of a segmentation they are as large as the samples
        for doubt in doubted:
            run.tell(f"note: {doubt}")
        wanted = {name: step for name, step in STEPS.items() if name in options.steps}
        tried = [name for name in wanted if name not in ships_on.left_out]
        work, unplanned = planned(
            time_budget, fp32, (samples.calibration, samples.evaluation), costs, tried
        )
        failed += unplanned
        recover = options.recover
        if recover is None and decisions is not None and decisions.trains:
            recover = True  # what was decided cannot be repeated without it
        training = _training(recover, judge, samples, work.trains, options.keep_best)
        context = StepContext(
            samples.calibration,
            run,
            without_labels(budget, model_outputs(fp32), samples.evaluation, samples.calibration),
            search_floors(model_outputs(fp32), samples.evaluation, budget),
            quantizes="quantize" in tried,
            decisions=decisions or Decisions(),
            prefer=preferred(options.prefer, ships_on.target),
            costs=costs,
            effort=work.effort,
            limits=work.limits,
            no_cuts=work.skipped,
            training=training,
            reference=reference,
            target=ships_on.target,
            left_out=ships_on.left_out,
            workers=options.workers,
            cluster=options.cluster,
            rungs=lambda: judge.rungs,
        )
        first = Candidate(fp32, reference, baseline)
        best, reports = run_steps(
            wanted, context, first, judge, None if decisions is None else decisions.kept
        )
        run.tell("analyzing the result")
        insight = contain(
            "the analysis",
            lambda: analyze(
                reference,
                best.path,
                samples.evaluation,
                pruned=best.pruned,
                whole=judge.whole,
                provider=ships_on.provider if options.device is None else "cpu",
                threads=run.threads,
            ),
        )
        failed += [insight] if isinstance(insight, Defect) else []
        calibration = listed_calibration(samples, failed)
        ship(best.path, folder)
        report = Report(
            source=getattr(model, "name", None) or str(model),
            metric_name=budget.metric,
            max_drop=budget.drop,
            min_agreement=budget.agreement,
            min_sqnr_db=budget.sqnr_db,
            threads=run.threads,
            baseline=baseline,
            steps=reports,
            result=best.measured,
            stress=None if best.parity is None else best.parity.stress,
            notes=(
                *doubted,
                *told,
                *samples.notes,
                *origin.notes(samples),
                *work.afterwards(_stopped(reports)),
                *(costs.notes if costs is not None else ()),
                *judge.notes,
                *(training.notes if training is not None else ()),
                *notes_of_device(options),
                *_why_untrained(options),
            ),
            insight=None if isinstance(insight, Defect) else insight,
            defects=(*origin.defects, *failed),
            costs=None if costs is None else costs.to_dict(),
            work=work.to_dict(),
            judged=_judged(best.parity, budget),
            higher_is_better=_higher_is_better(budget, fp32, samples),
            seed=run.seed,
            target=ships_on.target.name,
            calibration=calibration,
        )
        report = write_report(report, folder)
    return report


def _known_samples(judge: Judge, samples: Samples, baseline: Measured) -> tuple[str, ...]:
    """The note that the model was trained on what calibrates, where that is likely."""
    if judge.budget.metric is None or baseline.metric is None:
        return ()
    first, note = judge.budget.metric.split(",")[0], None
    with suppress(KilnxError):  # labels of samples that calibrate need not fit
        note = looks_like_training(
            judge.whole, samples.calibration, samples.evaluation, first, baseline.metric
        )
    return (note,) if note else ()


def _higher_is_better(budget: Budget, model: ir.Model, samples: Samples) -> bool:
    """Whether more of the metric that the table shows is better."""
    if budget.metric is None:
        return True
    names = [one.name for one in model_outputs(model)]
    labels = samples.evaluation.label_names
    return open_metrics(budget.metric, names, labels)[0].higher_is_better


def _judged(parity: ParityReport | None, budget: Budget) -> tuple[Judged, ...]:
    """What the result spends of the budget; nothing where nothing was changed."""
    drops = dict(budget.drops)
    return tuple(
        Judged(one.name, one.drop, one.low, one.high, drops.get(one.name, budget.shared_drop))
        for one in (() if parity is None else parity.metrics)
    )


def _stopped(reports: Sequence[StepReport]) -> str:
    """What ended the search for cuts early."""
    return next((str(one.details.get("stopped", "")) for one in reports if one.name == "prune"), "")


def _training(
    recover: bool | None, judge: Judge, samples: Samples, trains: bool, keep_best: bool
) -> Training | None:
    """How pruned models are trained, if they are."""
    if recover is None:
        recover = None if trains and find_spec("tensorflow") is not None else False
    if recover is False:
        return None
    from converter.compression.recovery import Training

    return Training(judge, samples.calibration, bool(recover), keep_best)


def _why_untrained(options: CompressOptions) -> tuple[str, ...]:
    if options.recover is not None or "prune" not in options.steps or find_spec("tensorflow"):
        return ()
    return ("nothing is trained: TensorFlow is not installed (the extra 'keras' brings it)",)


def _baseline(judge: Judge) -> tuple[Measured, list[Defect]]:
    """How the reference measures; without its latency where taking that fails."""
    found = contain("timing fp32", judge.baseline, lambda error: isinstance(error, KilnxError))
    if isinstance(found, Defect):
        return judge.baseline(timed=False), [found]
    return found, []


@dataclass(frozen=True)
class _Origin:
    """The fp32 graph, and what only the Keras model tells: losses by output, its own scaling.

    ``defects``: what failed of that; ``told``: what the export says.
    """

    graph: ir.Model
    losses: Mapping[str, Loss] = field(default_factory=dict)
    scaling: tuple[str, ...] | None = None
    defects: tuple[Defect, ...] = ()
    told: tuple[str, ...] = ()

    def notes(self, samples: Samples) -> tuple[str, ...]:
        """What the user should know of the export, and of images next to the model."""
        if self.scaling is None:
            return self.told
        return (*self.told, *notes_of_preprocessing(samples.evaluation, self.scaling))


def _reference(model: Any, path: Path, keras: KerasOptions, early: EarlyData) -> _Origin:
    """The fp32 graph, exported and proven or read and cleaned, and its file."""
    if isinstance(model, ir.Model) or not is_keras(model):
        graph, defects = simplified(load_model(model))
        write_model(graph, path)
        return _Origin(graph, defects=defects)
    from converter.export.reference import export_reference

    exported = export_reference(model, path, keras, early.refuse_misfits)
    return _Origin(
        exported.graph or load_model(path),
        exported.losses,
        exported.scaling,
        exported.defects,
        exported.notes,
    )


def _fitted(graph: ir.Model, path: Path, target: Target, *, int8: bool) -> ir.Model:
    """The fp32 graph in the target's form, and its file with it."""
    found = fitted(graph, target, int8=int8)
    if not target.is_default:
        write_model(found, path)
    return found
