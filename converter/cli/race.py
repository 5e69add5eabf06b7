"""``kilnx race``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from converter.cli.console import print_json, print_line, print_rows
from converter.cli.groups import DeviceGroup, ImageGroup, grouped
from converter.cli.options import (
    AllowFallback,
    Data,
    Force,
    Json,
    MaxDrop,
    Metric,
    MinAgreement,
    MinSqnr,
    Seed,
    Strict,
    sizes_of,
)
from converter.cli.progress import progress


@grouped
def race(
    models: Annotated[list[Path], typer.Argument(help="ONNX files; the first is the reference.")],
    data: Data,
    images: ImageGroup,
    device: DeviceGroup,
    engines: Annotated[
        list[str] | None,
        typer.Option(
            help="Engines that race, with commas or repeated: cpu,openvino.",
            metavar="NAMES",
            show_default="all that are installed",
        ),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option(help="Threads of a run, such as 1 or 1,4.", show_default="1 and all cores"),
    ] = None,
    large_batch: Annotated[
        int, typer.Option(help="Batch size at which throughput is measured.", min=1)
    ] = 32,
    rank_by: Annotated[
        Literal["latency", "throughput", "memory", "disk"],
        typer.Option(help="What decides inside the budget; disk is file and engine together."),
    ] = "latency",
    metric: Metric = None,
    max_drop: MaxDrop = None,
    min_agreement: MinAgreement = None,
    min_sqnr: MinSqnr = None,
    strict: Strict = False,
    allow_fallback: AllowFallback = False,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with a picture, too.", metavar="FILE")
    ] = None,
    force: Force = False,
    seed: Seed = 0,
    json: Json = False,
) -> int:
    """Run files in every installed engine and say which to ship on this machine, or on a device."""
    counts = None if threads is None else sizes_of("--threads", threads)
    from runtimes.options import RunOptions
    from runtimes.parity.budget import Budget
    from runtimes.racing import race as command

    options = command.RaceOptions(
        _names(engines), counts, large_batch, rank_by, allow_fallback, device=device.open()
    )
    metrics = ",".join(metric) if metric else None
    if html is not None:
        from converter.report.race_page import refuse_page

        refuse_page(html, force=force)
    with progress() as say:
        report = command.race(
            models,
            images.open(data),
            options=options,
            budget=Budget(metrics, max_drop, min_agreement, min_sqnr, strict),
            run=RunOptions(seed=seed, progress=say),
        )
    if html is not None:
        from converter.report.race_page import write_page

        write_page(report, html, force=force)
    if json:
        print_json({**report.to_dict(), "passed": report.passed})
    else:
        _show(report)
        if html is not None:
            print_line(f"{html}: the same as a page")
    return 0 if report.passed else 1


def _names(engines: list[str] | None) -> list[str] | None:
    """The engines of all options, each of which may name several."""
    if engines is None:
        return None
    return [name for text in engines for part in text.split(",") if (name := part.strip())]


def _show(report: Any) -> None:
    print_line(report.headline())
    print_rows(report.rows())
    print_line(
        f"judged against {report.reference} in ONNX Runtime on the CPU, {report.samples} samples; "
        f"the budget is {report.judged_by}"
    )
    print_line(
        "ms at batch 1, ± between launches; MB: peak memory; load in s; disk: file and engine"
    )
    for reason in report.reasons():
        print_line(reason)
    for note in report.notes:
        print_line(f"note: {note}")
