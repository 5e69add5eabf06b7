"""Workers that compare the shards of a check."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from runtimes.distributed.map_shards import count_workers, map_shards
from runtimes.parity.comparison import Comparison
from runtimes.parity.shards.part import Part
from runtimes.parity.shards.part_file import parse_part
from runtimes.parity.shards.work import Work
from runtimes.progress import Progress

# Smaller pieces than one a worker: the slowest one holds up less, and less is repeated.
SHARDS_A_WORKER = 4


@dataclass(frozen=True)
class Workers:
    """Processes of this machine, or the workers of a Dask cluster.

    Attributes:
        workers: How many processes.
        cluster: Address of a Dask scheduler, ``tcp://host:8786``, whose workers are taken instead.
    """

    workers: int = 1
    cluster: str | None = None

    @property
    def far(self) -> bool:
        """Whether models have to be sent to other machines."""
        return self.cluster is not None

    def __call__(self, found: Comparison, work: Work, tell: Progress) -> tuple[str, ...]:
        """Let ``found`` absorb the shards, each compared by a worker."""
        sharing = count_workers(workers=self.workers, cluster=self.cluster)
        count = min(work.blocks, SHARDS_A_WORKER * sharing)
        shards = [(index, count) for index in range(count)]
        with map_shards(work.task, shards, workers=self.workers, cluster=self.cluster) as results:
            return work.absorb(found, _parts(results, count, tell))


def _parts(
    results: Iterable[tuple[tuple[int, int], bytes]], count: int, tell: Progress
) -> Iterator[Part]:
    for done, ((index, _), raw) in enumerate(results, 1):
        tell("comparing shards", done, count)
        yield parse_part(raw, f"shard {index}/{count}")
