"""Map over shards: who runs them is one choice, what comes out is the same."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

from runtimes.errors import DataError

Shard = TypeVar("Shard", bound=Hashable)
Task = Callable[[Shard], bytes]
"""What is done with a shard; it can be pickled, and gives the same bytes wherever it runs."""


def count_workers(*, workers: int = 1, cluster: str | None = None) -> int:
    """How many workers would share the work at this moment; options as those of ``map_shards``."""
    if cluster is None:
        return workers
    from runtimes.distributed.dask_cluster import workers_of

    return workers_of(cluster)


def map_shards(
    task: Task[Shard],
    shards: Sequence[Shard],
    *,
    workers: int = 1,
    cluster: str | None = None,
) -> AbstractContextManager[Iterator[tuple[Shard, bytes]]]:
    """Run ``task`` on every shard; yields each shard once with its result, as they are done.

    Where a worker dies, its shard is given to another one; of a shard that was run twice one
    result counts. Leaving the context ends what still runs.

    Args:
        task: What to run.
        shards: What it is called with.
        workers: How many processes of this machine run it.
        cluster: Address of a Dask scheduler, whose workers run it in their place.

    Raises:
        RuntimeUnavailable: Workers die over a shard again and again, there is no cluster at the
            address, or none of its workers has this version of kilnx.
        KilnxError: What the task raised.
    """
    if cluster is not None:
        from runtimes.distributed.dask_cluster import on_cluster

        return on_cluster(task, shards, cluster)
    if workers < 1:
        raise DataError(f"there must be at least one worker, not {workers}")
    from runtimes.distributed.processes import in_processes

    return in_processes(task, shards, workers)
