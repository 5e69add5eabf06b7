"""Shards on the workers of a Dask cluster; https://distributed.dask.org."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from runtimes.distributed.answers import Answer, answer, pickled, version_there
from runtimes.errors import RuntimeUnavailable, first_line
from runtimes.extras import missing_extra
from runtimes.version import own_version

_PATIENCE_SECONDS = 30
_MOST_ATTEMPTS = 4


@contextmanager
def on_cluster(
    task: Any, shards: Sequence[Any], address: str
) -> Iterator[Iterator[tuple[Any, bytes]]]:
    """``map_shards`` on the cluster whose scheduler is at ``address``."""
    client = _connect(address)
    try:
        yield _results(client, pickled(task), shards, address)
    finally:
        client.close()


def workers_of(address: str) -> int:
    """How many workers of this version the cluster has; raises ``RuntimeUnavailable``."""
    client = _connect(address)
    try:
        return len(_workers(client, address))
    finally:
        client.close()


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise RuntimeUnavailable(missing_extra("Dask", "cluster", "for --cluster")) from error
    try:
        connect: Any = Client
        return connect(address, timeout=_PATIENCE_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise RuntimeUnavailable(
            f"no Dask scheduler answers at {address} ({first_line(error)}); give an address such "
            "as tcp://host:8786, where dask scheduler runs"
        ) from error


def _results(
    client: Any, task: bytes, shards: Sequence[Any], address: str
) -> Iterator[tuple[Any, bytes]]:
    """Every shard once, as they are done; those that got lost are submitted again."""
    left = dict.fromkeys(shards)
    attempts = 0
    while left:
        attempts += 1
        before = len(left)
        futures = _submit(client, task, list(left), address)
        last = ""
        for future in _as_completed(client, futures):
            shard = futures[future]
            found, last = _answer(future, last)
            if found is not None:
                del left[shard]
                yield shard, found.unwrap()
            future.release()
        if len(left) < before:
            attempts = 0
        if attempts >= _MOST_ATTEMPTS:
            raise RuntimeUnavailable(
                f"the workers at {address} lost {len(left)} of {len(shards)} shards again and "
                f"again ({last}); is memory short there? Use more shards, or look at their logs"
            )


def _as_completed(client: Any, futures: Any) -> Any:
    import distributed

    found: Any = distributed.as_completed
    return found(list(futures), loop=client.loop)


def _answer(future: Any, last: str) -> tuple[Answer | None, str]:
    """What a worker said; None, and why, where it died or has another version."""
    try:
        found = future.result()
    except Exception as error:  # Dask's own: killed workers, a scheduler that was started anew
        return None, first_line(error)
    if not isinstance(found, Answer) or found.version != own_version():
        return None, f"a worker has kilnx {getattr(found, 'version', 'of another version')}"
    return found, last


def _submit(client: Any, task: bytes, shards: list[Any], address: str) -> dict[Any, Any]:
    """Futures of the shards, on workers of this version as long as there are any."""
    workers = _workers(client, address)
    sent = client.scatter(task, workers=workers, broadcast=True, hash=False)
    # A worker that was started anew has another address, and must be allowed to help.
    where: dict[str, Any] = {"workers": workers, "allow_other_workers": True}
    submit = partial(client.submit, answer, sent, pure=False, **where)
    return {submit(shard): shard for shard in shards}


def _workers(client: Any, address: str) -> list[str]:
    """The workers that have this version of kilnx; raises ``RuntimeUnavailable`` without any."""
    try:
        client.wait_for_workers(1, timeout=_PATIENCE_SECONDS)
    except TimeoutError as error:
        raise RuntimeUnavailable(
            f"the scheduler at {address} has no workers; start some with dask worker {address}"
        ) from error
    found = client.run(version_there, on_error="return")
    same = sorted(worker for worker, version in found.items() if version == own_version())
    if not same:
        others = sorted({str(version) for version in found.values()})
        raise RuntimeUnavailable(
            f"no worker at {address} has kilnx {own_version()}; they have {', '.join(others)}: "
            "install the same version there"
        )
    return same
