"""The scheduler with a model and a loop that do nothing by themselves: every step is a call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from runtimes.base import Array, Feed
from runtimes.serving.errors import ClientLeft, DeadlineExceeded, Overloaded, Unavailable
from runtimes.serving.host import Done, Work
from runtimes.serving.jobs import Engine, Job
from runtimes.serving.scheduler import Fallback, Scheduler

pytestmark = pytest.mark.fast


class ByHand:
    """A host whose loop and threads advance when a test says so."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.time = 0.0
        self.soon: list[Callable[[], None]] = []
        self.threads: list[tuple[Work, Done]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def create_future(self) -> asyncio.Future[Any]:
        return self._loop.create_future()

    def run_in_thread(self, work: Work, done: Done) -> None:
        self.threads.append((work, done))

    def now(self) -> float:
        return self.time

    def next_pass(self) -> None:
        callbacks, self.soon = self.soon, []
        for callback in callbacks:
            callback()

    def finish_thread(self) -> None:
        work, done = self.threads.pop(0)
        done(work())


class Doubling:
    """A model that doubles its input, and remembers what it was asked."""

    def __init__(self, times: float = 2.0) -> None:
        self.times = times
        self.batches: list[int] = []

    def __call__(self, feed: Feed, names: Sequence[str]) -> list[Array]:
        self.batches.append(len(feed["x"]))
        if (feed["x"] < 0).any():
            raise ValueError("negative")
        return [feed["x"] * self.times for _ in names]


class Client:
    """A connection that may have been closed."""

    gone = False

    def is_closing(self) -> bool:
        return self.gone


@pytest.fixture
def host() -> Iterator[ByHand]:
    loop = asyncio.new_event_loop()
    yield ByHand(loop)
    loop.close()


@pytest.fixture
def model() -> Doubling:
    return Doubling()


def job(*values: float, width: int = 2, deadline: float = 100.0, **more: Any) -> Job:
    x = np.repeat(np.array(values, np.float32)[:, None], width, axis=1)
    return Job({"x": x}, ["y"], len(values), 0.0, deadline, **more)


def fast(model: Doubling, batch: int = 8) -> Engine:
    return Engine(model, 0.0001, inline_rows=20, batch_rows=batch)


def slow(model: Doubling, batch: int = 8) -> Engine:
    return Engine(model, 1.0, inline_rows=0, batch_rows=batch)


def value(future: Any) -> list[float]:
    assert future.done()
    return [float(row[0]) for row in future.result()[0]]


def test_a_lone_request_runs_where_it_is(host: ByHand, model: Doubling) -> None:
    scheduler = Scheduler(fast(model), host)
    found = scheduler.submit(job(3))
    assert found[0].tolist() == [[6, 6]]
    assert host.threads == []
    host.next_pass()
    assert scheduler.submit(job(4))[0].tolist() == [[8, 8]]
    assert model.batches == [1, 1]


def test_requests_of_one_pass_run_together(host: ByHand, model: Doubling) -> None:
    scheduler = Scheduler(fast(model), host)
    scheduler.submit(job(1))
    futures = [scheduler.submit(job(n)) for n in (2, 3, 4)]
    assert model.batches == [1]
    host.next_pass()
    assert model.batches == [1, 3]
    assert [value(future) for future in futures] == [[4], [6], [8]]


def test_a_request_that_is_alone_again_stops_waiting(host: ByHand, model: Doubling) -> None:
    scheduler = Scheduler(fast(model), host)
    waiting = [scheduler.submit(job(1)), scheduler.submit(job(1))][1]
    host.next_pass()
    assert value(waiting) == [2]
    lonely = []
    for _ in range(9):
        lonely.append(isinstance(scheduler.submit(job(5)), list))
        host.next_pass()
    assert not lonely[0]
    assert lonely[-1]


def test_a_batch_never_holds_the_loop_for_longer_than_agreed(host: ByHand, model: Doubling) -> None:
    engine = Engine(model, 0.0001, inline_rows=3, batch_rows=8)
    scheduler = Scheduler(engine, host)
    scheduler.submit(job(1))
    futures = [scheduler.submit(job(n)) for n in range(5)]
    host.next_pass()
    assert model.batches == [1, 3]
    host.next_pass()
    assert model.batches == [1, 3, 2]
    assert all(future.done() for future in futures)


def test_what_gains_nothing_in_batches_never_waits(host: ByHand, model: Doubling) -> None:
    scheduler = Scheduler(fast(model, batch=1), host)
    for n in range(4):
        assert scheduler.submit(job(n))[0].tolist() == [[2 * n] * 2]
    assert host.soon == []


def test_a_busy_replica_is_given_all_that_waits(host: ByHand, model: Doubling) -> None:
    scheduler = Scheduler(slow(model), host)
    futures = [scheduler.submit(job(n)) for n in range(1, 6)]
    assert len(host.threads) == 1
    host.finish_thread()
    assert value(futures[0]) == [2]
    host.finish_thread()
    assert model.batches == [1, 4]
    assert [value(future) for future in futures[1:]] == [[4], [6], [8], [10]]
    assert (scheduler.running, scheduler.waiting) == (0, 0)


def test_replicas_run_side_by_side(host: ByHand, model: Doubling) -> None:
    scheduler = Scheduler(slow(model), host, replicas=2)
    for n in range(3):
        scheduler.submit(job(n))
    assert (len(host.threads), scheduler.waiting) == (2, 1)


def test_other_shapes_and_outputs_never_mix(host: ByHand, model: Doubling) -> None:
    scheduler = Scheduler(slow(model), host)
    first = scheduler.submit(job(1))
    narrow = [scheduler.submit(job(2)), scheduler.submit(job(4))]
    wide = scheduler.submit(job(3, width=5))
    other = Job({"x": np.ones((1, 2), np.float32)}, ["z"], 1, 0.0, 100.0)
    scheduler.submit(other)
    host.finish_thread()
    host.finish_thread()
    assert [value(f) for f in (first, *narrow)] == [[2], [4], [8]]
    assert not wide.done()
    host.finish_thread()
    assert wide.result()[0].shape == (1, 5)
    assert not other.future.done()
    host.finish_thread()
    assert model.batches == [1, 2, 1, 1]


def test_requests_of_several_samples_get_their_own_rows(host: ByHand, model: Doubling) -> None:
    scheduler = Scheduler(slow(model), host)
    scheduler.submit(job(0))
    futures = [scheduler.submit(job(1, 2)), scheduler.submit(job(3)), scheduler.submit(job(4, 5))]
    host.finish_thread()
    host.finish_thread()
    assert [value(future) for future in futures] == [[2, 4], [6], [8, 10]]


def test_no_batch_is_larger_than_allowed(host: ByHand, model: Doubling) -> None:
    scheduler = Scheduler(slow(model, batch=4), host)
    scheduler.submit(job(0))
    for _ in range(3):
        scheduler.submit(job(1, 2, 3))
    scheduler.submit(job(9))
    while host.threads:
        host.finish_thread()
    assert model.batches == [1, 4, 3, 3]


def test_a_bad_request_fails_alone(host: ByHand, model: Doubling) -> None:
    scheduler = Scheduler(slow(model), host)
    scheduler.submit(job(0))
    futures = [scheduler.submit(job(n)) for n in (1, -1, 2)]
    host.finish_thread()
    host.finish_thread()
    assert value(futures[0]) == [2]
    assert value(futures[2]) == [4]
    assert isinstance(futures[1].exception(), ValueError)


def test_too_many_are_refused_with_a_time_to_come_back(host: ByHand, model: Doubling) -> None:
    scheduler = Scheduler(slow(model), host, queue=2)
    for n in range(3):
        scheduler.submit(job(n))
    with pytest.raises(Overloaded) as refused:
        scheduler.submit(job(9))
    assert dict(refused.value.headers) == {b"retry-after": b"3", b"retry-after-ms": b"3000"}
    assert scheduler.statistics.rejected == 1


def test_who_would_wait_beyond_the_deadline_is_refused_at_once(
    host: ByHand, model: Doubling
) -> None:
    scheduler = Scheduler(slow(model), host)
    scheduler.submit(job(1))
    with pytest.raises(Overloaded):
        scheduler.submit(job(2, deadline=1.5))
    assert scheduler.waiting == 0
    scheduler.submit(job(2, deadline=3.0))


def test_runs_that_take_longer_than_measured_are_foreseen(host: ByHand, model: Doubling) -> None:
    def run(feed: Feed, names: Sequence[str]) -> list[Array]:
        host.time += 4.0
        return model(feed, names)

    scheduler = Scheduler(Engine(run, 1.0, batch_rows=8), host)
    for n in range(3):
        scheduler.submit(job(n))
        host.finish_thread()
    scheduler.submit(job(3))
    with pytest.raises(Overloaded) as refused:
        scheduler.submit(job(4, deadline=9.0))
    assert 3 < refused.value.seconds <= 4


def test_expired_and_abandoned_requests_cost_no_run(host: ByHand, model: Doubling) -> None:
    scheduler = Scheduler(slow(model), host)
    client = Client()
    scheduler.submit(job(1))
    expired = scheduler.submit(job(2, deadline=5.0))
    left = scheduler.submit(job(3, client=client))
    given_up = scheduler.submit(job(4))
    kept = scheduler.submit(job(5))
    host.time, client.gone = 6.0, True
    given_up.cancel()
    host.finish_thread()
    host.finish_thread()
    assert isinstance(expired.exception(), DeadlineExceeded)
    assert isinstance(left.exception(), ClientLeft)
    assert value(kept) == [10]
    assert model.batches == [1, 1]
    assert (scheduler.statistics.expired, scheduler.statistics.cancelled) == (1, 2)


def test_no_run_is_spent_on_an_answer_that_comes_too_late(host: ByHand, model: Doubling) -> None:
    scheduler = Scheduler(slow(model), host)
    scheduler.submit(job(1))
    hopeless = scheduler.submit(job(2, deadline=4.0))
    host.time = 3.5
    host.finish_thread()
    assert isinstance(hopeless.exception(), DeadlineExceeded)
    assert model.batches == [1]


def test_one_slow_run_does_not_shut_the_others_out(host: ByHand, model: Doubling) -> None:
    def run(feed: Feed, names: Sequence[str]) -> list[Array]:
        host.time += 60.0 if not model.batches else 1.0
        return model(feed, names)

    scheduler = Scheduler(Engine(run, 1.0, batch_rows=8), host)
    scheduler.submit(job(1))
    host.finish_thread()
    late = Job({"x": np.ones((1, 2), np.float32)}, ["y"], 1, host.time, host.time + 5.0)
    future = scheduler.submit(late)
    host.finish_thread()
    assert value(future) == [2]


def test_draining_finishes_what_was_accepted(host: ByHand, model: Doubling) -> None:
    scheduler = Scheduler(slow(model), host)
    futures = [scheduler.submit(job(n)) for n in (1, 2)]
    draining = scheduler.drain()
    draining.send(None)
    with pytest.raises(Unavailable):
        scheduler.submit(job(3))
    host.finish_thread()
    host.finish_thread()
    assert [value(future) for future in futures] == [[2], [4]]
    with pytest.raises(StopIteration):
        draining.send(None)


def test_cancelling_tells_those_who_wait(host: ByHand, model: Doubling) -> None:
    scheduler = Scheduler(slow(model), host)
    running, waiting = scheduler.submit(job(1)), scheduler.submit(job(2))
    scheduler.cancel_waiting()
    assert isinstance(waiting.exception(), Unavailable)
    host.finish_thread()
    assert value(running) == [2]


def test_the_fallback_answers_while_it_is_used(host: ByHand, model: Doubling) -> None:
    used = [False]
    original = Doubling(10.0)
    fallback = Fallback(slow(original), lambda: used[0])
    scheduler = Scheduler(fast(model), host, fallback=fallback)
    first = job(1)
    assert scheduler.submit(first)[0].tolist() == [[2, 2]]
    used[0] = True
    second = job(1)
    waiting = scheduler.submit(second)
    host.finish_thread()
    assert value(waiting) == [10]
    assert (first.fp32, second.fp32) == (False, True)


def test_what_runs_is_counted(host: ByHand, model: Doubling) -> None:
    scheduler = Scheduler(slow(model), host)
    scheduler.submit(job(1))
    for n in (2, 3):
        scheduler.submit(job(n))
    host.time = 2.0
    host.finish_thread()
    host.finish_thread()
    assert scheduler.statistics.executions == 2
    assert sorted(scheduler.statistics.batches) == [1, 2]
