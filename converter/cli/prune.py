"""``kilnx prune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from converter.cli.console import print_json, print_line, print_rows
from converter.cli.groups import (
    BudgetGroup,
    CostsGroup,
    DeviceGroup,
    EffortGroup,
    ImageGroup,
    RunGroup,
    grouped,
)
from converter.cli.options import (
    Decisions,
    Eval,
    Force,
    Json,
    OnnxFile,
    OutputFile,
    Target,
)
from converter.cli.progress import progress


@grouped
def prune(
    model: OnnxFile,
    output: OutputFile,
    images: ImageGroup,
    budget: BudgetGroup,
    costs: CostsGroup,
    effort: EffortGroup,
    run: RunGroup,
    device: DeviceGroup,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Samples; without data, only lossless pruning is done."),
    ] = None,
    evaluate_on: Eval = None,
    flops: Annotated[
        float | None, typer.Option(help="Stop at this share of the multiply-adds, 0 to 1.")
    ] = None,
    params: Annotated[
        float | None, typer.Option(help="Stop at this share of the parameters, 0 to 1.")
    ] = None,
    latency: Annotated[
        float | None, typer.Option(help="Stop at this share of the latency here, 0 to 1.")
    ] = None,
    outputs: Annotated[
        list[str] | None, typer.Option(help="An output to keep; repeatable.", metavar="NAME")
    ] = None,
    target: Target = None,
    decisions: Decisions = None,
    force: Force = False,
    json: Json = False,
) -> int:
    """Remove channels from an ONNX model without training, as far as the budget allows."""
    from converter.compression import prune as command

    with progress() as say:
        report = command.prune(
            model,
            output,
            images.open(data),
            evaluate_on=images.open(evaluate_on),
            budget=budget.budget(),
            options=command.PruneFileOptions(
                flops,
                params,
                latency,
                outputs,
                decisions,
                force,
                costs.costs,
                costs.trust_costs,
                effort.seconds(),
                effort.effort,
                target,
                device=device.open(),
            ),
            run=run.run(say),
        )
    if json:
        print_json(report.to_dict())
    else:
        print_line(f"{'pruned' if report.kept else 'not pruned'}, {output}: {report.reason}")
        if not report.reached:
            why = "" if report.defects else ": this is the best that the budget allows"
            print_line(f"the target is not met{why}")
        print_rows(report.rows())
        for note in report.notes:
            print_line(f"note: {note}")
    return 0 if report.reached or report.defects else 1
