"""``kilnx profile``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from converter.cli.console import print_json, print_line, print_rows
from converter.cli.groups import DeviceGroup, ImageGroup, grouped
from converter.cli.options import AllowFallback, Json, Provider, Seed, Target, sizes_of
from converter.cli.progress import progress


@grouped
def profile(
    model: Annotated[Path, typer.Argument(help="An ONNX or Keras file.")],
    images: ImageGroup,
    device: DeviceGroup,
    against: Annotated[Path | None, typer.Option(help="A model to interleave with.")] = None,
    target: Target = None,
    provider: Provider = "cpu",
    batch: Annotated[str, typer.Option(help="Batch sizes, such as 1,8.")] = "1",
    threads: Annotated[str, typer.Option(help="Threads of a run, such as 1 or 1,2,4.")] = "1",
    data: Annotated[Path | None, typer.Option(help="Samples; random ones otherwise.")] = None,
    operators: Annotated[
        bool, typer.Option("--operators", help="Show where the time goes, operator by operator.")
    ] = False,
    memory: Annotated[
        bool, typer.Option("--memory", help="Measure peak memory, in a process of its own.")
    ] = False,
    allow_fallback: AllowFallback = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Measure latency, throughput and size, interleaved with another model where one is given."""
    sizes, counts = sizes_of("--batch", batch), sizes_of("--threads", threads)
    from runtimes.options import RunOptions
    from runtimes.profiling import profile as command

    with progress() as say:
        report = command.profile(
            model,
            against=against,
            threads=counts,
            options=command.ProfileOptions(
                provider,
                sizes,
                images.open(data),
                memory,
                operators,
                allow_fallback,
                device=device.open(),
                target=target,
            ),
            run=RunOptions(seed=seed, progress=say),
        )
    if json:
        print_json(report.to_dict())
        return
    print_rows(report.rows())
    if report.load_ms is not None:
        print_line(f"loaded in {report.load_ms:.1f} ms, first run {report.first_run_ms:.2f} ms")
    if report.operators is not None:
        _show_operators(report.operators)
    elif operators and report.layer_rows():
        print_rows(report.layer_rows(), title="in which precision the layers ran")
    if report.placement is not None and report.placement.layers:
        print_line(f"placement: {report.placement}")
    for note in report.notes:
        print_line(f"note: {note}")


def _show_operators(table: Any) -> None:
    print_rows(table.rows(30), title="where the time goes")
    print_line(table.headline())
    if table.stayed_float:
        print_line(f"multiplies in float: {', '.join(table.stayed_float)}")
