"""``kilnx quantize``."""

from __future__ import annotations

from pathlib import Path
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
    Decisions,
    Eval,
    Force,
    Json,
    OnnxFile,
    OptionalData,
    OutputFile,
    Prefer,
    Target,
    files_of,
    sizes_of,
)
from converter.cli.progress import progress
from converter.cli.shard_groups import Cluster, WorkerCount

_REFUSED = "the operators of the INT8 form, which was not kept"


@grouped
def quantize(
    model: OnnxFile,
    output: OutputFile,
    images: ImageGroup,
    budget: BudgetGroup,
    costs: CostsGroup,
    effort: EffortGroup,
    run: RunGroup,
    device: DeviceGroup,
    data: OptionalData = None,
    evaluate_on: Eval = None,
    statistics: Annotated[
        list[Path] | None,
        typer.Option(
            help="A file that `kilnx calibrate` wrote, in place of --data; repeatable, and a "
            "pattern such as 'part*.stats' names several: all shards are needed.",
            metavar="FILE",
        ),
    ] = None,
    target_cpu: Annotated[
        Literal["any", "vnni"],
        typer.Option(help="vnni: no guard against 16-bit sums that saturate elsewhere."),
    ] = "any",
    keep_float: Annotated[
        list[str] | None,
        typer.Option(help="A node that stays in float; repeatable.", metavar="NODE"),
    ] = None,
    batch: Annotated[str, typer.Option(help="Batch sizes to be fast at, such as 1,32.")] = "1",
    prefer: Prefer = "balanced",
    target: Target = None,
    decisions: Decisions = None,
    workers: WorkerCount = 1,
    cluster: Cluster = None,
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
            statistics=files_of(statistics) or None,
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
                workers=workers,
                cluster=cluster,
            ),
            run=run.run(say),
        )
    if json:
        print_json(report.to_dict())
        return
    print_line(f"{'INT8' if report.kept else 'fp32'} written to {output}: {report.reason}")
    refused = not report.kept and any(one.precision != "float32" for one in report.operators)
    print_rows(report.rows(), _REFUSED if refused else None)
    for note in report.notes:
        print_line(f"note: {note}")
