"""``kilnx compress`` and ``kilnx demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from converter.cli.console import print_json, print_line, print_rows
from converter.cli.groups import (
    BudgetGroup,
    CostsGroup,
    DeviceGroup,
    EffortGroup,
    ImageGroup,
    KerasGroup,
    RunGroup,
    grouped,
)
from converter.cli.options import (
    Data,
    Decisions,
    Eval,
    Force,
    Json,
    KeepBest,
    Prefer,
    Provider,
    Recover,
    Seed,
    Target,
)
from converter.cli.progress import progress
from converter.cli.shard_groups import Cluster, WorkerCount


@grouped
def compress(
    model: Annotated[Path, typer.Argument(help="An ONNX file, or what convert takes.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write.")],
    data: Data,
    images: ImageGroup,
    budget: BudgetGroup,
    keras: KerasGroup,
    costs: CostsGroup,
    effort: EffortGroup,
    run: RunGroup,
    device: DeviceGroup,
    evaluate_on: Eval = None,
    target: Target = None,
    provider: Provider = "cpu",
    skip: Annotated[
        list[str] | None, typer.Option(help="A step to leave out; repeatable.", metavar="STEP")
    ] = None,
    prefer: Prefer = "balanced",
    recover: Recover = None,
    keep_best: KeepBest = False,
    decisions: Decisions = None,
    workers: WorkerCount = 1,
    cluster: Cluster = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Make a model smaller and faster inside one budget; write it with a measured report."""
    from converter.compression.step_names import STEP_NAMES

    steps = [step for step in STEP_NAMES if step not in (skip or [])]
    from converter.compression import compress as command

    with progress() as say:
        report = command.compress(
            model,
            output,
            images.open(data),
            evaluate_on=images.open(evaluate_on),
            budget=budget.budget(),
            options=command.CompressOptions(
                steps,
                provider,
                decisions,
                force,
                prefer,
                costs.costs,
                costs.trust_costs,
                effort.seconds(),
                effort.effort,
                recover,
                keep_best,
                target,
                device=device.open(),
                workers=workers,
                cluster=cluster,
            ),
            keras=keras.keras(),
            run=run.training(say),
        )
    _show_compression(report, output, json)


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write.")] = Path(
        "kilnx-demo"
    ),
    force: Force = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Train a small residual network on scikit-learn's digits, compress it, show the report."""
    from converter.demo import demo as run

    with progress() as say:
        report = run(output, force=force, seed=seed, progress=say)
    _show_compression(report, output, json)


def _show_compression(report: Any, output: Path, json: bool) -> None:
    from converter.report.report import summary

    if json:
        print_json(report.to_dict())
        return
    print_line(f"{output / 'model.onnx'}: {summary(report)}")
    print_rows(report.rows())
    for step in report.steps:
        failed = step.defect is not None and not step.kept
        verdict = "kept" if step.kept else "failed" if failed else "not kept"
        print_line(f"{step.name}: {verdict}, {step.reason}")
    if report.stress is not None:
        print_line(f"under stress: {report.stress.line()}")
    insight = report.insight.defects if report.insight else ()
    for note in (*report.notes, *insight, *report.defects):
        print_line(f"note: {note}")
