"""Opens one stage where it runs: in this process, in one of its own, or on a server."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from runtimes.engines.open_runtime import open_runtime
from runtimes.engines.ort_cuda import CudaOptions
from runtimes.engines.ort_session import Optimization
from runtimes.engines.provider_names import refuse_unknown_provider
from runtimes.engines.runtime import Runtime
from runtimes.errors import DataError, ModelError
from runtimes.racing.remote import RemoteRuntime
from runtimes.stages.manifest import Stage
from runtimes.stages.optimized import machine_of_graph

Where = Literal["processes", "threads"]
_SERVERS = ("http://", "https://")


def open_stage(
    folder: Path,
    stage: Stage,
    *,
    exact: str | None,
    where: Where,
    threads: int | None = 1,
    token: str | None = None,
) -> Runtime:
    """Open ``stage``.

    Raises ``ModelError`` where it is of an optimized graph (``exact``) for another machine, and
    what engines raise.
    """
    if stage.device.startswith(_SERVERS):
        from runtimes.serving.client import ServedModel

        return ServedModel(stage.device, token=token)
    if exact is not None and exact != machine_of_graph():
        raise ModelError(
            f"{folder} was cut, bit for bit, for {exact}, and this is {machine_of_graph()}; "
            "partition the model here, or without exact"
        )
    level: Optimization = "all" if exact is None else "disabled"
    provider, index = provider_of(stage.device)
    path = folder / stage.file
    if where == "processes" and index is None:
        return RemoteRuntime(path, provider, threads=threads, optimization=level)
    cuda = None if index is None else CudaOptions(device=index)
    return open_runtime(path, provider, threads=threads, optimization=level, cuda=cuda)


def refuse_unknown_device(device: str) -> None:
    """Raise ``DataError`` for what is neither a provider nor an address."""
    if not device.startswith(_SERVERS):
        refuse_unknown_provider(provider_of(device)[0])


def provider_of(device: str) -> tuple[str, int | None]:
    """A provider's name, and the index of its device where one is given, as in ``cuda:1``."""
    provider, colon, index = device.partition(":")
    if not colon:
        return provider, None
    if provider != "cuda" or not index.isascii() or not index.isdigit():
        raise DataError(
            f"{device!r} is no device; there are cpu, cuda:0 and served models' addresses"
        )
    return provider, int(index)
