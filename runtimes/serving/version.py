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
        statistics, now = self.scheduler.statistics, self.host.now
        arrived = now()
        statistics.touch()
        try:
            feed, rows = self.signature.feed_of(request)
            names = self.signature.names_of(request)
            limit = self._limit(request, timeout)
            job = Job(feed, names, rows, arrived, arrived + limit, client=client)
            found: Any = self.scheduler.submit(job)
            if job.future is not None:
                found = await job.future
        except (Exception, asyncio.CancelledError) as error:
            statistics.failed += 1
            statistics.failed_ns += int((now() - arrived) * 1e9)
            if self.monitor is not None:
                self.monitor.failed(getattr(error, "status", 500))
            raise
        seconds = now() - arrived
        statistics.answered(rows, seconds, job.started - arrived)
        if self.monitor is not None and len(names) == len(self.signature.outputs):
            self._watch(self.monitor, request, job, dict(zip(names, found, strict=True)))
        return self._response(request, job, names, found)

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
