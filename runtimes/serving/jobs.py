"""Requests of one model that are to be run, and how several are run as one.

Requests are put together along the first axis, and only if all else about them is equal. Each gets
the rows that are its own: nothing of one is in the answer to another.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from runtimes.base import Array, Feed
from runtimes.serving.host import Outcome, Outcomes

Run = Callable[[Feed, Sequence[str]], Sequence[Array]]


class Client(Protocol):
    """Whoever waits for an answer; a transport of asyncio is one."""

    def is_closing(self) -> bool:
        """Whether nobody waits any more."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A model that can be run, and what was measured of it.

    Attributes:
        run: Runs a feed that fits; safe to be called from several threads.
        seconds: What one sample takes, run alone.
        inline_rows: Up to so many samples are run in the event loop itself, 0 for none: handing
            a short run to a thread costs more than the run.
        batch_rows: Up to so many samples of several requests are run together.
    """

    run: Run
    seconds: float
    inline_rows: int = 0
    batch_rows: int = 1


class Job:
    """One request, until it is answered.

    Attributes:
        feed: The inputs, which fit the model.
        names: The outputs that are wanted.
        rows: Its samples.
        deadline: When nobody waits for the answer any more.
        client: Who asked; None where that is not known.
        arrived: When it came.
        started: When it was run.
        seconds: Its share of the time that its run took.
        fp32: Whether it was run by the model's fp32 original.
        future: The answer, for a job that had to wait.
    """

    __slots__ = (
        "arrived",
        "client",
        "deadline",
        "feed",
        "fp32",
        "future",
        "names",
        "rows",
        "seconds",
        "started",
    )

    def __init__(
        self,
        feed: Feed,
        names: Sequence[str],
        rows: int,
        arrived: float,
        deadline: float,
        *,
        client: Client | None = None,
    ) -> None:
        self.feed, self.names, self.rows, self.client = feed, names, rows, client
        self.arrived, self.deadline, self.started = arrived, deadline, arrived
        self.fp32, self.seconds = False, 0.0
        self.future: asyncio.Future[Any] | None = None

    def kind(self) -> object:
        """Equal for jobs that may run together: the same inputs, shapes and outputs."""
        shapes = [(name, value.shape[1:]) for name, value in self.feed.items()]
        return sorted(shapes), list(self.names)

    def is_abandoned(self) -> bool:
        """Whether nobody waits for the answer: the client left, or gave up."""
        if self.future is not None and self.future.done():
            return True
        return self.client is not None and self.client.is_closing()


def take_batch(queue: deque[Job], most_rows: int) -> list[Job]:
    """Remove the first job, and all behind it that may run with it in ``most_rows`` samples.

    The others keep their order. Nothing overtakes the first job.
    """
    first = queue.popleft()
    batch, left = [first], most_rows - first.rows
    if left <= 0 or not queue:
        return batch
    kind, kept = first.kind(), []
    for job in queue:
        if 0 < job.rows <= left and job.kind() == kind:
            batch.append(job)
            left -= job.rows
        else:
            kept.append(job)
    queue.clear()
    queue.extend(kept)
    return batch


def run_jobs(run: Run, jobs: Sequence[Job]) -> Outcomes:
    """Run jobs together; the outputs of each, or the error that it raised.

    Where they fail together each runs alone: what is wrong with one is not answered to another.
    """
    if len(jobs) > 1:
        try:
            return _run_together(run, jobs)
        except Exception:  # one of them is to blame, and running them alone tells which
            pass
    return [_run_alone(run, job) for job in jobs]


def _run_alone(run: Run, job: Job) -> Outcome:
    try:
        return run(job.feed, job.names)
    except Exception as error:  # answered to the client, and logged where it is a defect
        return error


def _run_together(run: Run, jobs: Sequence[Job]) -> Outcomes:
    feed = {name: np.concatenate([job.feed[name] for job in jobs]) for name in jobs[0].feed}
    outputs = run(feed, jobs[0].names)
    rows = sum(job.rows for job in jobs)
    if any(output.shape[:1] != (rows,) for output in outputs):
        raise ValueError("the outputs have other rows than the inputs")
    found: Outcomes = []
    start = 0
    for job in jobs:
        stop = start + job.rows
        found.append([output[start:stop] for output in outputs])
        start = stop
    return found
