"""One version of a model, loaded and proven, that answers requests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from runtimes.base import Array
from runtimes.serving.host import Host
from runtimes.serving.jobs import Client, Job
from runtimes.serving.measure import Rows
from runtimes.serving.monitoring import Monitor
from runtimes.serving.protocol.messages import NO_PARAMETERS, InferRequest, InferResponse
from runtimes.serving.scheduler import Scheduler
from runtimes.serving.servable import Servable
from runtimes.serving.signature import Signature
from runtimes.serving.statistics import Statistics

_FP32 = MappingProxyType({"fp32": True})
_NO_LABELS: Mapping[str, Sequence[str]] = MappingProxyType({})


class Begun:
    """A request that a version runs, or has run.

    Attributes:
        version: The version.
        request: What is asked.
        job: Its run.
        outputs: What it gave, where it ran at once.
        future: What it will give, where it waits; else None.
    """

    __slots__ = ("future", "job", "outputs", "request", "version")

    def __init__(self, version: ServedVersion, request: InferRequest, job: Job, found: Any) -> None:
        self.version, self.request, self.job = version, request, job
        self.future = job.future
        self.outputs: Sequence[Array] = found if job.future is None else ()


@dataclass
class ServedVersion:
    """A version that answers.

    Attributes:
        servable: The files that it was loaded from.
        signature: What it takes and gives.
        scheduler: When its requests run.
        monitor: What compares it with its proof; None where nothing does.
        engine: The engine that runs it, with its version.
        rows: How its batches compare with single samples.
        host: Whose clock counts.
        seconds: How long a request may take.
        held: Everything that is freed with it.
    """

    servable: Servable
    signature: Signature
    scheduler: Scheduler
    monitor: Monitor | None
    engine: str
    rows: Rows
    host: Host
    seconds: float
    held: ExitStack

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.servable.source.name

    @property
    def version(self) -> str:
        """The version, as a text."""
        return self.servable.source.version

    @property
    def statistics(self) -> Statistics:
        """What it has done."""
        return self.scheduler.statistics

    async def infer(
        self, request: InferRequest, *, timeout: float | None = None, client: Client | None = None
    ) -> InferResponse:
        """Answer a request within ``timeout`` seconds, or the server's own limit.

        Nothing is awaited before the request is in the scheduler. Raises ``ProtocolError`` and
        what the model raises.
        """
        begun = self.begin(request, timeout=timeout, client=client)
        return self.finish(begun, await self.outputs_of(begun))

    def begin(
        self, request: InferRequest, *, timeout: float | None = None, client: Client | None = None
    ) -> Begun:
        """Run a request, or put it where it waits; raises as ``infer`` does.

        Whoever calls it calls ``finish`` with the outputs, or ``failed``.
        """
        arrived = self.host.now()
        self.scheduler.statistics.touch()
        try:
            feed, rows = self.signature.feed_of(request)
            names = self.signature.names_of(request)
            limit = self._limit(request, timeout)
            job = Job(feed, names, rows, arrived, arrived + limit, client=client)
            return Begun(self, request, job, self.scheduler.submit(job))
        except Exception as error:
            self.failed(arrived, error)
            raise

    async def outputs_of(self, begun: Begun) -> Sequence[Array]:
        """What a request gave, once it was run; raises what the run raised."""
        if begun.future is None:
            return begun.outputs
        try:
            found: Sequence[Array] = await begun.future
        except (Exception, asyncio.CancelledError) as error:
            self.failed(begun.job.arrived, error)
            raise
        return found

    def finish(self, begun: Begun, outputs: Sequence[Array]) -> InferResponse:
        """The answer of a request that was run."""
        request, job = begun.request, begun.job
        seconds = self.host.now() - job.arrived
        self.scheduler.statistics.answered(job.rows, seconds, job.started - job.arrived)
        if self.monitor is not None and len(job.names) == len(self.signature.outputs):
            self._watch(self.monitor, request, job, dict(zip(job.names, outputs, strict=True)))
        return self._response(request, job, job.names, outputs)

    def failed(self, arrived: float, error: BaseException) -> None:
        """Count a request that cannot be answered."""
        statistics = self.scheduler.statistics
        statistics.failed += 1
        statistics.failed_ns += int((self.host.now() - arrived) * 1e9)
        if self.monitor is not None:
            self.monitor.failed(getattr(error, "status", 500))

    async def close(self) -> None:
        """Finish what was accepted, then free everything."""
        await self.scheduler.drain()
        await asyncio.to_thread(self.held.close)

    @staticmethod
    def _watch(
        monitor: Monitor, request: InferRequest, job: Job, outputs: Mapping[str, Array]
    ) -> None:
        """Show the monitor an answer that it wants to see, or that a label may come for."""
        if monitor.wants():
            monitor.record(job.feed, outputs, job.seconds, request.id, by_fp32=job.fp32)
        elif request.id:
            monitor.remember(request.id, outputs)

    def _limit(self, request: InferRequest, timeout: float | None) -> float:
        """Seconds until nobody waits any more."""
        limit = self.seconds if timeout is None else min(timeout, self.seconds)
        if request.parameters:
            asked = request.parameters.get("timeout")  # microseconds, as Triton has it
            if isinstance(asked, int | float) and asked > 0:
                limit = min(limit, asked * 1e-6)
        return limit

    def _response(
        self, request: InferRequest, job: Job, names: Sequence[str], found: Any
    ) -> InferResponse:
        parameters = NO_PARAMETERS
        if job.fp32:
            self.scheduler.statistics.fp32 += 1
            parameters = _FP32
        return InferResponse(
            self.servable.source.name,
            self.servable.source.version,
            request.id,
            self.signature.tensors(names, found),
            parameters,
            self._labels(request) if request.outputs else _NO_LABELS,
        )

    def _labels(self, request: InferRequest) -> Mapping[str, Sequence[str]]:
        labels = self.servable.labels
        if not labels:
            return _NO_LABELS
        return {
            output.name: labels
            for output in request.outputs or ()
            if output.classification is not None
        }
