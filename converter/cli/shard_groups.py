"""Options of who does the work: this process, several, a cluster, or another scheduler's jobs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from converter.cli.options import files_of

if TYPE_CHECKING:
    from runtimes.parity.check_options import Spread

WorkerCount = Annotated[
    int, typer.Option("--workers", help="Processes that share the work.", min=1)
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        help="Address of a Dask scheduler whose workers share the work.",
        metavar="tcp://HOST:PORT",
        show_default="this machine",
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        help="Which of how many shards of the data, from 0: 0/4 to 3/4.",
        metavar="I/N",
        show_default="all of the data",
    ),
]


@dataclass(frozen=True)
class CompareGroup:
    """Who compares the samples."""

    workers: WorkerCount = 1
    cluster: Cluster = None
    shard: Shard = None
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The file that the --shard is written to."),
    ] = None
    parts: Annotated[
        list[Path] | None,
        typer.Option(
            help="A file that --shard wrote, in place of running the models on all samples; "
            "repeatable, and a pattern such as 'part*.parity' names several: all shards are "
            "needed.",
            metavar="FILE",
        ),
    ] = None

    @property
    def is_one(self) -> bool:
        """Whether one shard is to be compared and written; ``DataError`` for half of that."""
        from runtimes.errors import DataError

        if (self.shard is None) != (self.output is None):
            raise DataError("--shard and -o belong together: a shard is written to a file")
        if self.shard is not None and (self._by_workers or self.parts):
            raise DataError("one shard is run here: leave out --workers, --cluster and --parts")
        return self.shard is not None

    def spread(self) -> Spread | None:
        """Who compares in place of this process; ``DataError`` where two are named."""
        from runtimes.errors import DataError

        if self._by_workers and self.parts:
            raise DataError("--parts were compared before: leave out --workers and --cluster")
        if self.parts:
            from runtimes.parity.shards.compare_files import CompareFiles

            return CompareFiles(files_of(self.parts))
        if not self._by_workers:
            return None
        from runtimes.distributed.check_shards import Workers

        return Workers(self.workers, self.cluster)

    @property
    def _by_workers(self) -> Any:
        return self.workers > 1 or self.cluster is not None
