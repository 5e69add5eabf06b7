"""``kilnx prune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from converter.cli.console import print_json, print_line, print_rows, progress
from converter.cli.options import (
    Eval,
    Force,
    ImageOffset,
    ImageScale,
    ImageSize,
    Json,
    MaxDrop,
    Metric,
    MinAgreement,
    MinSqnr,
    OnnxFile,
    OutputFile,
    Threads,
    data_of,
)


def prune(
    model: OnnxFile,
    output: OutputFile,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Samples; without any, only what changes nothing goes."),
    ] = None,
    evaluate_on: Eval = None,
    image_size: ImageSize = None,
    image_scale: ImageScale = None,
    image_offset: ImageOffset = None,
    metric: Metric = None,
    max_drop: MaxDrop = 0.01,
    min_agreement: MinAgreement = 0.99,
    min_sqnr: MinSqnr = 20.0,
    flops: Annotated[
        float | None, typer.Option(help="Enough: this share of the multiply-adds, 0 to 1.")
    ] = None,
    params: Annotated[float | None, typer.Option(help="Enough: of the parameters.")] = None,
    latency: Annotated[float | None, typer.Option(help="Enough: of the latency here.")] = None,
    outputs: Annotated[
        list[str] | None, typer.Option(help="An output to keep; may be given again.")
    ] = None,
    decisions: Annotated[
        Path | None, typer.Option(help="An earlier report (--json) whose decision is replayed.")
    ] = None,
    threads: Threads = 1,
    force: Force = False,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    json: Json = False,
) -> int:
    """Remove channels from an ONNX model without training, as far as the budget allows."""
    from converter.compression.prune import prune as run

    with progress() as say:
        say(f"pruning {model}")
        report = run(
            model,
            output,
            data_of(data, image_size, image_scale, image_offset),
            evaluate_on=data_of(evaluate_on, image_size, image_scale, image_offset),
            metric=metric,
            max_drop=max_drop,
            min_agreement=min_agreement,
            min_sqnr=min_sqnr,
            flops=flops,
            params=params,
            latency=latency,
            outputs=outputs,
            decisions=decisions,
            threads=threads,
            force=force,
            seed=seed,
            progress=say,
        )
    if json:
        print_json(report.to_dict())
    else:
        print_rows(report.rows(), title=str(output))
        for note in report.notes:
            print_line(f"note: {note}")
        print_line(f"{'pruned' if report.kept else 'not pruned'}, {output}: {report.reason}")
        if not report.reached:
            print_line("the target is not met: this is the best that the budget allows")
    return 0 if report.reached else 1
