"""``kilnx calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from converter.cli.console import print_json, print_line
from converter.cli.groups import ImageGroup, grouped
from converter.cli.options import Data, Force, Json, OnnxFile, Target, Threads
from converter.cli.progress import progress
from converter.cli.shard_groups import Cluster, Shard, WorkerCount


@grouped
def calibrate(
    model: OnnxFile,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The file of statistics to write.")
    ],
    data: Data,
    images: ImageGroup,
    shard: Shard = None,
    offset: Annotated[
        int,
        typer.Option(help="Position of the data's first sample in the whole, if a part.", min=0),
    ] = 0,
    total: Annotated[
        int | None,
        typer.Option(
            help="Samples of the whole that the data are a part of.", min=1, show_default="no part"
        ),
    ] = None,
    workers: WorkerCount = 1,
    cluster: Cluster = None,
    target: Target = None,
    threads: Threads = 1,
    force: Force = False,
    json: Json = False,
) -> None:
    """Observe a model's activations over a shard of the data, for `kilnx quantize --statistics`."""
    from converter.compression import calibrate as command
    from runtimes.options import RunOptions

    with progress() as say:
        report = command.calibrate(
            model,
            output,
            images.open(data),
            options=command.CalibrateOptions(shard, offset, total, workers, cluster, target, force),
            run=RunOptions(threads, progress=say),
        )
    if json:
        print_json(report.to_dict())
        return
    print_line(f"{output}: {report.headline()}")
