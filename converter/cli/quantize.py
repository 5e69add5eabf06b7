"""``kilnx quantize``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from converter.cli.console import print_json, print_line, print_rows, progress
from converter.cli.options import (
    Data,
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
    sizes_of,
)


def quantize(
    model: OnnxFile,
    output: OutputFile,
    data: Data,
    evaluate_on: Eval = None,
    image_size: ImageSize = None,
    image_scale: ImageScale = None,
    image_offset: ImageOffset = None,
    metric: Metric = None,
    max_drop: MaxDrop = 0.01,
    min_agreement: MinAgreement = 0.99,
    min_sqnr: MinSqnr = 20.0,
    effort: Annotated[
        Literal["low", "default", "high"],
        typer.Option(help="high also learns the rounding of weights; low tries nothing twice."),
    ] = "default",
    target_cpu: Annotated[
        Literal["any", "vnni"],
        typer.Option(help="vnni: no guard against 16-bit sums that saturate elsewhere."),
    ] = "any",
    keep_float: Annotated[
        list[str] | None, typer.Option(help="A node that stays in float; may be given again.")
    ] = None,
    batch: Annotated[str, typer.Option(help="Batch sizes to be fast at, such as 1,32.")] = "1",
    decisions: Annotated[
        Path | None, typer.Option(help="An earlier report (JSON) whose decisions are replayed.")
    ] = None,
    threads: Threads = 1,
    force: Force = False,
    seed: Annotated[int, typer.Option(help="Seed of the split of the data.")] = 0,
    json: Json = False,
) -> None:
    """Quantize an ONNX model to static INT8, if that pays inside the budget."""
    from quantizers import quantize as run

    with progress() as say:
        say(f"quantizing {model}")
        report = run(
            model,
            output,
            data_of(data, image_size, image_scale, image_offset),
            evaluate_on=data_of(evaluate_on, image_size, image_scale, image_offset),
            metric=metric,
            max_drop=max_drop,
            min_agreement=min_agreement,
            min_sqnr=min_sqnr,
            effort=effort,
            target_cpu=target_cpu,
            keep_float=keep_float or (),
            batch=sizes_of("--batch", batch),
            decisions=decisions,
            threads=threads,
            force=force,
            seed=seed,
        )
    if json:
        print_json(report.to_dict())
        return
    print_rows(report.rows(), title=str(output))
    for note in report.notes:
        print_line(f"note: {note}")
    print_line(f"{'INT8' if report.kept else 'fp32'} written to {output}: {report.reason}")
