"""When each request of a model runs: at once, together with others, or not at all.

A short run happens in the event loop: a thread would cost more than the run. Requests that are
read in the same pass of the loop then run together; a request that came alone runs where it is.
Long runs go to threads, one for each replica. While all replicas are busy requests wait, and the
first that is free takes all that fit together. Nothing ever waits for others to come: there is no
timer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from runtimes.base import Array
from runtimes.serving.errors import ClientLeft, DeadlineExceeded, Overloaded, Unavailable
from runtimes.serving.host import Host, Outcome, Outcomes
from runtimes.serving.jobs import Engine, Job, run_jobs, take_batch
from runtimes.serving.statistics import Statistics

# After so many passes in which nobody else came, a request no longer waits for the others.
_PASSES_ALONE = 8
# What is foreseen to come so close to its deadline is refused.
_MARGIN = 1.4
_BAD_NEWS, _GOOD_NEWS = 0.5, 0.1
_TOO_MANY = "too many requests wait for this model; try again later"


@dataclass(frozen=True)
class Fallback:
    """The original of a model, which answers in its place while ``is_used``.

    ``capacity`` is what the queue's limit is multiplied by then: the original is slower.
    """

    engine: Engine
    is_used: Callable[[], bool]
    capacity: Callable[[], float] = lambda: 1.0


class Scheduler:
    """The queue of one version of a model. It belongs to the event loop's thread.

    Attributes:
        engine: What runs the jobs, unless the fallback does.
        statistics: What was done.
        replicas: Runs in threads at a time.
    """

    def __init__(
        self,
        engine: Engine,
        host: Host,
        *,
        replicas: int = 1,
        queue: int = 256,
        statistics: Statistics | None = None,
        fallback: Fallback | None = None,
    ) -> None:
        self.statistics = statistics or Statistics()
        self.replicas = replicas
        self.engine, self._host, self._fallback = engine, host, fallback
        self._most_waiting = queue
        self._soon: deque[Job] = deque()  # run by the loop in its next pass
        self._waiting: deque[Job] = deque()  # run by the next replica that is free
        self._waiting_rows = 0
        self._running = self._running_rows = 0
        # What a sample takes in a replica, of late: other load counts, and so do batches.
        self._pace = {False: engine.seconds, True: fallback.engine.seconds if fallback else 0.0}
        self._collecting = self._in_pass = self._flushing = self._closed = False
        self._alone = 0
        self._idle: asyncio.Future[None] | None = None

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._soon) + len(self._waiting)

    @property
    def running(self) -> int:
        """Replicas that are busy."""
        return self._running

    def submit(self, job: Job) -> Sequence[Array] | asyncio.Future[Sequence[Array]]:
        """The outputs of a job that ran at once, or a future of those of one that has to wait.

        Raises ``Overloaded`` where it would wait too long, and what the run raises.
        """
        if self._closed:
            raise Unavailable("the model is being unloaded")
        engine = self._current(job)
        if job.rows > engine.inline_rows:
            return self._wait_for_replica(job, engine)
        if engine.batch_rows <= 1 or self._is_alone():
            return self._run_now(job, engine)
        return self._wait_for_others(job)

    async def drain(self) -> None:
        """Take no more jobs, and return when all that were taken are done."""
        self._closed = True
        if self.waiting or self._running:
            self._idle = self._host.create_future()
            await self._idle

    def cancel_waiting(self) -> None:
        """Give up all jobs that have not started."""
        for job in (*self._soon, *self._waiting):
            _set_error(job, Unavailable("the server stops"))
        self._soon.clear()
        self._waiting.clear()
        self._waiting_rows = 0
        self._tell_idle()

    def _current(self, job: Job) -> Engine:
        fallback = self._fallback
        if fallback is not None and fallback.is_used():
            job.fp32 = True
            return fallback.engine
        return self.engine

    def _is_alone(self) -> bool:
        """Whether no other request came in this pass of the loop, as far as one can know."""
        if self._collecting:
            return False
        if self._in_pass:  # a second one: more are likely to come together
            self._collecting, self._alone = True, 0
            return False
        self._in_pass = True
        self._host.call_soon(self._end_pass)
        return True

    def _end_pass(self) -> None:
        self._in_pass = False

    def _run_now(self, job: Job, engine: Engine) -> Sequence[Array]:
        host = self._host
        job.started = started = host.now()
        outputs = engine.run(job.feed, job.names)
        job.seconds = host.now() - started
        self.statistics.executed(job.rows, job.seconds)
        return outputs

    def _wait_for_others(self, job: Job) -> asyncio.Future[Sequence[Array]]:
        """Let the loop read what else has come; then all run."""
        if len(self._soon) >= self._most_waiting:
            raise self._overloaded(self.engine.seconds * len(self._soon))
        job.future = self._host.create_future()
        self._soon.append(job)
        if not self._flushing:
            self._flushing = True
            self._host.call_soon(self._flush)
        return job.future

    def _flush(self) -> None:
        """Run one batch of those that came together, and come back for the rest."""
        self._flushing = False
        self._drop_dead(self._soon)
        if self._soon:
            self._notice_lonely()
            engine = self._current(self._soon[0])
            jobs = take_batch(self._soon, min(engine.batch_rows, engine.inline_rows))
            self._finish(jobs, self._timed(engine, jobs)())
        if self._soon and not self._flushing:
            self._flushing = True
            self._host.call_soon(self._flush)
        self._tell_idle()

    def _notice_lonely(self) -> None:
        self._alone = self._alone + 1 if len(self._soon) == 1 else 0
        if self._alone >= _PASSES_ALONE:
            self._collecting = False

    def _wait_for_replica(self, job: Job, engine: Engine) -> asyncio.Future[Sequence[Array]]:
        pace = self._pace[job.fp32]
        wait = self._expected_wait(pace)
        late = job.arrived + _MARGIN * (wait + pace * job.rows) > job.deadline
        if len(self._waiting) >= self._queue_limit(job) or (wait > 0 and late):
            raise self._overloaded(wait)
        job.future = self._host.create_future()
        self._waiting.append(job)
        self._waiting_rows += job.rows
        self._start_replicas()
        return job.future

    def _queue_limit(self, job: Job) -> int:
        if job.fp32 and self._fallback is not None:
            return max(1, int(self._most_waiting * self._fallback.capacity()))
        return self._most_waiting

    def _expected_wait(self, pace: float) -> float:
        """Seconds until a job that comes now is run."""
        if self._running < self.replicas:
            return 0.0
        return pace * (self._waiting_rows + self._running_rows) / self.replicas

    def _overloaded(self, wait: float) -> Overloaded:
        self.statistics.rejected += 1
        return Overloaded(_TOO_MANY, wait)

    def _start_replicas(self) -> None:
        while self._running < self.replicas:
            self._drop_dead(self._waiting)
            if not self._waiting:
                break
            engine = self._current(self._waiting[0])
            jobs = take_batch(self._waiting, engine.batch_rows)
            rows = sum(job.rows for job in jobs)
            self._waiting_rows -= rows
            self._running_rows += rows
            self._running += 1
            self._host.run_in_thread(self._timed(engine, jobs), partial(self._finish_replica, jobs))

    def _timed(self, engine: Engine, jobs: Sequence[Job]) -> Callable[[], Outcomes]:
        """Running ``jobs``; it may happen in any thread, and counts nothing."""
        fp32 = self._fallback is not None and engine is self._fallback.engine
        now = self._host.now

        def work() -> Outcomes:
            started = now()
            outcomes = run_jobs(engine.run, jobs)
            share = (now() - started) / len(jobs)
            for job in jobs:
                job.started, job.seconds, job.fp32 = started, share, fp32
            return outcomes

        return work

    def _finish_replica(self, jobs: Sequence[Job], outcomes: Outcomes) -> None:
        rows = sum(job.rows for job in jobs)
        self._running -= 1
        self._running_rows -= rows
        self._learn_pace(sum(job.seconds for job in jobs) / max(rows, 1), fp32=jobs[0].fp32)
        self._finish(jobs, outcomes)
        self._start_replicas()
        self._tell_idle()

    def _learn_pace(self, pace: float, *, fp32: bool) -> None:
        """Believe soon that runs take longer, and late that they take less: promises are kept."""
        known = self._pace[fp32]
        self._pace[fp32] += (_BAD_NEWS if pace > known else _GOOD_NEWS) * (pace - known)

    def _finish(self, jobs: Sequence[Job], outcomes: Outcomes) -> None:
        rows = sum(job.rows for job in jobs)
        self.statistics.executed(rows, sum(job.seconds for job in jobs))
        for job, outcome in zip(jobs, outcomes, strict=True):
            _set_outcome(job, outcome)

    def _drop_dead(self, queue: deque[Job]) -> None:
        """Forget the jobs whose clients left or whose time is over, before they cost a run."""
        now = self._host.now()
        dead = [job for job in queue if self._is_too_late(job, now) or job.is_abandoned()]
        for job in dead:
            queue.remove(job)
            if queue is self._waiting:
                self._waiting_rows -= job.rows
            if job.is_abandoned():
                self.statistics.cancelled += 1
                _set_error(job, ClientLeft())
            else:
                self.statistics.expired += 1
                _set_error(job, DeadlineExceeded())

    def _is_too_late(self, job: Job, now: float) -> bool:
        """Whether the answer would come after the deadline.

        Who has not waited is never given up for what earlier runs took: it may be over.
        """
        pace = self._pace[job.fp32]
        has_waited = now - job.arrived > pace
        return now + (pace * job.rows if has_waited else 0.0) > job.deadline

    def _tell_idle(self) -> None:
        idle = self._idle
        if idle is not None and not idle.done() and not self.waiting and not self._running:
            idle.set_result(None)


def _set_outcome(job: Job, outcome: Outcome) -> None:
    if isinstance(outcome, BaseException):
        _set_error(job, outcome)
    elif job.future is not None and not job.future.done():
        job.future.set_result(outcome)


def _set_error(job: Job, error: BaseException) -> None:
    if job.future is not None and not job.future.done():
        job.future.set_exception(error)
