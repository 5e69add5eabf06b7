"""``kilnx quantize``."""

from __future__ import annotations

from typing import Annotated, Literal

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
    Data,
    Decisions,
    Eval,
    Force,
    Json,
    OnnxFile,
    OutputFile,
    Prefer,
    Target,
    sizes_of,
)
from converter.cli.progress import progress


@grouped
def quantize(
    model: OnnxFile,
    output: OutputFile,
    data: Data,
    images: ImageGroup,
    budget: BudgetGroup,
    costs: CostsGroup,
    effort: EffortGroup,
    run: RunGroup,
    device: DeviceGroup,
    evaluate_on: Eval = None,
    target_cpu: Annotated[
        Literal["any", "vnni"],
        typer.Option(help="vnni: no guard against 16-bit sums that saturate elsewhere."),
    ] = "any",
    keep_float: Annotated[
        list[str] | None, typer.Option(help="A node that stays in float; repeatable.")
    ] = None,
    batch: Annotated[str, typer.Option(help="Batch sizes to be fast at, such as 1,32.")] = "1",
    prefer: Prefer = "balanced",
    target: Target = None,
    decisions: Decisions = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Quantize an ONNX model to static INT8, if that pays inside the budget."""
    sizes = sizes_of("--batch", batch)
    from converter.compression import quantize as command

    with progress() as say:
        report = command.quantize(
            model,
            output,
            images.open(data),
            evaluate_on=images.open(evaluate_on),
            budget=budget.budget(),
            options=command.QuantizeFileOptions(
                keep_float or (),
                sizes,
                effort.effort,
                target_cpu,
                decisions,
                force,
                prefer,
                costs.costs,
                costs.trust_costs,
                effort.seconds(),
                target,
                device=device.open(),
            ),
            run=run.run(say),
        )
    if json:
        print_json(report.to_dict())
        return
    print_line(f"{'INT8' if report.kept else 'fp32'} written to {output}: {report.reason}")
    print_rows(report.rows())
    for note in report.notes:
        print_line(f"note: {note}")
