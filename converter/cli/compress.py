"""``kilnx compress`` and ``kilnx demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from converter.cli.console import print_json, print_line, print_rows, progress
from converter.cli.options import (
    Custom,
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
    Signature,
    SignatureKey,
    Strict,
    Threads,
    Unsafe,
    Weights,
    custom_of,
    data_of,
    signature_of,
)


def compress(
    model: Annotated[Path, typer.Argument(help="An ONNX file, or what convert takes.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write.")],
    data: Data,
    evaluate_on: Eval = None,
    image_size: ImageSize = None,
    image_scale: ImageScale = None,
    image_offset: ImageOffset = None,
    metric: Metric = None,
    max_drop: MaxDrop = 0.01,
    min_agreement: MinAgreement = 0.99,
    min_sqnr: MinSqnr = 20.0,
    strict: Strict = False,
    provider: Annotated[str, typer.Option(help="Execution provider to measure on.")] = "cpu",
    skip: Annotated[list[str] | None, typer.Option(help="A step to leave out.")] = None,
    threads: Threads = 1,
    decisions: Annotated[
        Path | None, typer.Option(help="An earlier report.json whose decisions are replayed.")
    ] = None,
    signature: Signature = None,
    custom: Custom = None,
    unsafe: Unsafe = False,
    signature_key: SignatureKey = None,
    weights: Weights = None,
    force: Force = False,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    json: Json = False,
) -> None:
    """Make a model smaller and faster inside one budget; write it with a measured report."""
    from converter.compression.compress import compress as run
    from converter.compression.steps import STEPS
    from runtimes.errors import DataError

    for step in skip or []:
        if step not in STEPS:
            raise DataError(f"--skip {step}: there is no such step; they are {', '.join(STEPS)}")
    with progress() as say:
        report = run(
            model,
            output,
            data_of(data, image_size, image_scale, image_offset),
            evaluate_on=data_of(evaluate_on, image_size, image_scale, image_offset),
            metric=metric,
            max_drop=max_drop,
            min_agreement=min_agreement,
            min_sqnr_db=min_sqnr,
            strict=strict,
            provider=provider,
            steps=[step for step in STEPS if step not in (skip or [])],
            threads=threads,
            signature=signature_of(signature),
            custom_objects=custom_of(custom),
            unsafe=unsafe,
            signature_key=signature_key,
            weights=weights,
            decisions=decisions,
            force=force,
            seed=seed,
            progress=say,
        )
    _show_compression(report, output, json)


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write.")] = Path(
        "kilnx-demo"
    ),
    force: Force = False,
    seed: Annotated[int, typer.Option(help="Seed of training and everything else.")] = 0,
    json: Json = False,
) -> None:
    """Train a small residual network on scikit-learn's digits, compress it, show the report."""
    from converter.demo import demo as run

    with progress() as say:
        report = run(output, force=force, seed=seed, progress=say)
    _show_compression(report, output, json)


def _show_compression(report: Any, output: Path, json: bool) -> None:
    from converter.report.html import summary, table_rows

    if json:
        print_json(report.to_dict())
        return
    print_rows(table_rows(report))
    for step in report.steps:
        verdict = "kept" if step.kept else "not kept"
        print_line(f"{step.name}: {verdict}, {step.reason}")
    for note in report.notes:
        print_line(f"note: {note}")
    print_line(f"{output / 'model.onnx'}: {summary(report)}")
