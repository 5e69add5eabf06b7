"""Opens one stage where it runs: in this process, in one of its own, or on a server."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from runtimes.engines.open_runtime import open_runtime
from runtimes.engines.ort import NO_SPINNING
from runtimes.engines.ort_cuda import CudaOptions
from runtimes.engines.ort_session import Optimization
from runtimes.engines.provider_names import refuse_unknown_provider
from runtimes.engines.runtime import Runtime
from runtimes.errors import DataError, ModelError
from runtimes.racing.messages import Pool
from runtimes.racing.remote import RemoteRuntime
from runtimes.stages.manifest import SERVERS, Stage
from runtimes.stages.optimized import machine_of_graph
from runtimes.weight_store.shared_sessions import SharedWeights

Where = Literal["processes", "threads"]

_SHARING = frozenset({"cpu", "cuda"})


def open_stage(
    folder: Path,
    stage: Stage,
    *,
    exact: str | None,
    where: Where,
    threads: int | None = 1,
    token: str | None = None,
    seconds: float = 60.0,
    shared: SharedWeights | None = None,
) -> Runtime:
    """Open ``stage``; a server may take ``seconds`` to answer.

    ``shared``: weights of which each device, and the memory of this machine, holds one copy for all
    stages that are opened with it.

    Raises ``ModelError`` where it is of an optimized graph (``exact``) for another machine, and
    what engines raise.
    """
    if stage.is_on_server:
        from runtimes.serving.client import ServedModel

        return ServedModel(address_of(stage), token=token, seconds=seconds)
    if exact is not None and exact != machine_of_graph():
        raise ModelError(
            f"{folder} was cut, bit for bit, for {exact}, and this is {machine_of_graph()}; "
            "partition the model here, or without exact"
        )
    level: Optimization = "all" if exact is None else "disabled"
    provider, index = provider_of(stage.device)
    path = folder / stage.file
    if shared is not None and provider in _SHARING:
        if exact is not None and not shared.prepack:
            raise DataError(
                f"{folder} was cut bit for bit, and weights in one order only give other last "
                "bits; let the sessions keep their own: SharedWeights(prepack=True)"
            )
        if where == "processes" and provider == "cpu":
            pool = Pool(str(shared.folder), shared.prepack, shared.arena)
            return RemoteRuntime(
                path, provider, threads=shared.threads, optimization=level, pool=pool
            )
        # One process alone can hold a weight on a GPU once for several sessions.
        return shared.open(path, device=index or 0, provider=provider, optimization=level)
    if where == "processes" and index is None:
        return RemoteRuntime(path, provider, threads=threads, optimization=level)
    cuda = None if index is None else CudaOptions(device=index)
    return open_runtime(
        path, provider, threads=threads, optimization=level, config=NO_SPINNING, cuda=cuda
    )


def address_of(stage: Stage) -> str:
    """Where a server has ``stage``: under the stage's own name, unless its device says another."""
    parts = urlsplit(stage.device)
    if parts.path.strip("/"):
        return stage.device
    return f"{parts.scheme}://{parts.netloc}/v2/models/{stage.name}"


def refuse_unknown_device(device: str) -> None:
    """Raise ``DataError`` for what is neither a provider nor the address of a server."""
    if not device.startswith(SERVERS):
        refuse_unknown_provider(provider_of(device)[0])
        return
    try:
        parts = urlsplit(device)
        known = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        known = False
    if not known or not (parts.path.strip("/") == "" or parts.path.startswith("/v2/models/")):
        raise DataError(
            f"{device!r} is no address of a server or of a model there: http://host:8000, or "
            "http://host:8000/v2/models/NAME"
        )


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
