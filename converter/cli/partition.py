"""``kilnx partition``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from converter.cli.console import print_json, print_line, print_rows
from converter.cli.groups import ImageGroup, grouped
from converter.cli.options import Costs, Force, Json, Seed, Threads
from converter.cli.progress import progress


@grouped
def partition(
    model: Annotated[Path, typer.Argument(help="An ONNX file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write.")],
    images: ImageGroup,
    stages: Annotated[
        int | None, typer.Option(help="Into how many stages the model is cut.", min=2)
    ] = None,
    max_bytes: Annotated[
        int | None,
        typer.Option(help="The most bytes of weights that a stage may have.", min=1),
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(
            help="Where each stage runs, with commas: cpu,cuda:0,http://host:8000[/v2/models/NAME]."
        ),
    ] = None,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact", help="The same bits as the whole model, on this kind of machine only."
        ),
    ] = False,
    even_if_slower: Annotated[
        bool,
        typer.Option(
            "--even-if-slower", help="Write stages that copies of the whole model outrun."
        ),
    ] = False,
    timed_batch: Annotated[int, typer.Option(help="The batch size that is timed.", min=1)] = 1,
    data: Annotated[
        Path | None, typer.Option(help="Samples to prove the stages; made up otherwise.")
    ] = None,
    costs: Costs = None,
    threads: Threads = 1,
    force: Force = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Cut a model into stages for several devices, processes or machines."""
    from runtimes.options import RunOptions
    from runtimes.stages import partition as command

    options = command.PartitionOptions(
        stages,
        max_bytes,
        [one.strip() for one in devices.split(",")] if devices else (),
        exact,
        even_if_slower,
        timed_batch,
        costs,
    )
    with progress() as say:
        report = command.partition(
            model,
            output,
            images.open(data),
            options=options,
            run=RunOptions(threads=threads, seed=seed, progress=say),
            force=force,
        )
    if json:
        print_json(report.to_dict())
        return
    print_line(f"{output}: {report.headline()}")
    print_rows(report.rows())
    print_line("µs by the cost table, bytes of weights, bytes that go on to later stages")
    print_line(report.comparison())
    for note in report.notes:
        print_line(f"note: {note}")
