"""``kilnx costs``: what kernels cost on a machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from converter.cli.at_once import answering_at_once
from converter.cli.console import print_json, print_line, print_rows
from converter.cli.groups import DeviceGroup, grouped
from converter.cli.help_text import Command
from converter.cli.options import Json, Threads, sizes_of
from converter.cli.progress import progress, with_quiet

app = typer.Typer(
    name="costs",
    help="What kernels cost on a machine: measure a table there, use it here with --costs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(cls=Command)
@with_quiet
@answering_at_once
@grouped
def measure(
    models: Annotated[list[Path], typer.Argument(help="ONNX files.")],
    device: DeviceGroup,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The table to write or to extend, a JSON file."),
    ] = None,
    batch: Annotated[str, typer.Option(help="Batch sizes, such as 1,32.")] = "1",
    threads: Threads = 1,
    json: Json = False,
) -> None:
    """Measure the kernels of models, and predict their latency from them."""
    from runtimes.costs.measure_model import measure_models

    with progress() as say:
        say(f"measuring the kernels of {', '.join(map(str, models))}")
        reports = measure_models(
            models,
            output,
            batch=sizes_of("--batch", batch),
            threads=threads,
            device=device.open(),
        )
    if json:
        print_json({"models": [one.to_dict() for one in reports]})
        return
    for one in reports:
        print_rows(one.rows(), title=one.model)
        print_line(one.headline())
    for note in dict.fromkeys(note for one in reports for note in one.notes):
        print_line(f"note: {note}")
    if output is not None:
        print_line(f"{output}: {reports[-1].kernels} kernels; use it with --costs {output}")


@app.command(cls=Command)
@answering_at_once
def show(
    table: Annotated[
        Path | None, typer.Argument(help="A cost table; else the one of this machine.")
    ] = None,
    threads: Threads = 1,
    json: Json = False,
) -> None:
    """Say which machine a table is of, and how many kernels it knows."""
    from runtimes.costs import open_costs
    from runtimes.costs.machine import this_machine
    from runtimes.costs.open_costs import cache_file
    from runtimes.costs.table import CostTable

    path = table or cache_file(this_machine(threads))
    found = CostTable.read(path) if table else open_costs(threads=threads).table
    if json:
        print_json({"path": str(path), "machine": found.machine.to_dict(), "kernels": len(found)})
        return
    print_line(f"{path}: {len(found)} kernels of {found.machine}")
