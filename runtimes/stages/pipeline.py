"""Runs the stages of a model at the same time, each on the request after the one before it.

Every stage has a thread that feeds it, and a queue before it. Only so many requests are on their
way at a time, and whoever asks for more waits: memory does not grow with the number of requests.
Each stage takes requests in the order in which they came, so answers keep it.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from runtimes.base import Array, Closable, Feed, TensorSpec
from runtimes.engines.batching import check_feed
from runtimes.errors import ModelError
from runtimes.stages.manifest import read_manifest
from runtimes.stages.open_stage import Where, open_stage
from runtimes.stages.seat import Seat, only, open_seats
from runtimes.stages.staged import whole
from runtimes.weight_store.shared_sessions import SharedWeights

Outputs = dict[str, Array]


@dataclass
class _Request:
    carried: dict[str, Array]
    future: Future[Outputs]
    found: Outputs = field(default_factory=dict)


_Queue = queue.SimpleQueue[_Request | None]


class Pipeline(Closable):
    """The stages of a folder, open and at work.

    Args:
        folder: What ``partition`` wrote.
        where: ``"processes"``: each stage in a process of its own; ``"threads"``: all in this one.
            A stage whose device is the address of a served model runs there in both.
        threads: Threads of a run, in each stage.
        depth: How many requests may wait for each stage, on average.
        token: What servers want to know.
        shared: A pool of weights, whose ``threads`` then count: all stages here that are opened
            with it, of this pipeline and of others, hold one copy of a weight on each device. A
            stage on a GPU runs in this process then.

    Attributes:
        inputs: What ``run`` takes.
        outputs: What it returns.

    Raises:
        DataError: The folder has no stages.
        ModelError: They are damaged, do not load, or were cut from a graph for another processor.

    Example:
        >>> from runtimes.stages.partition import partition
        >>> _ = partition("model.onnx", "stages", stages=2, even_if_slower=True)
        >>> with Pipeline("stages") as pipeline:
        ...     answers = list(pipeline.map([{"x": x}, {"x": x}]))
        >>> len(answers)
        2
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        where: Where = "processes",
        threads: int | None = 1,
        depth: int = 2,
        token: str | None = None,
        shared: SharedWeights | None = None,
    ) -> None:
        self._folder = Path(folder)
        stages = read_manifest(self._folder, here=True)
        start = partial(
            open_stage,
            self._folder,
            exact=stages.exact,
            where=where,
            threads=threads,
            token=token,
            shared=shared,
        )
        self._stack = ExitStack()
        self._queues: list[_Queue] = [queue.SimpleQueue() for _ in stages.stages]
        self._most = (depth + 1) * len(stages.stages)  # with those at work
        self._places = threading.Semaphore(self._most)
        self._order, self._closed = threading.Lock(), False
        try:
            self._seats = open_seats(stages.stages, start, self._stack)
            loaded = whole(stages, [seat.runtime.loaded for seat in self._seats])
        except BaseException:
            self._stack.close()
            raise
        self.inputs, self.outputs = loaded.inputs, loaded.outputs
        self._names = stages.outputs
        self._workers = [
            threading.Thread(
                target=self._serve,
                args=(number, seat),
                name=f"kilnx {seat.title}",
                daemon=True,
            )
            for number, seat in enumerate(self._seats)
        ]
        for worker in self._workers:
            worker.start()

    def submit(self, feed: Feed) -> Future[Outputs]:
        """Give a request to the first stage; waits while too many are on their way.

        Raises ``DataError`` for a feed that does not fit, ``ModelError`` where the pipeline is
        closed; the future raises what goes wrong in a stage, with the stage's name.
        """
        check_feed(feed, self.inputs, str(self._folder))
        with self._order:
            if self._closed:
                raise ModelError(f"the pipeline of {self._folder} is closed")
            self._places.acquire()
            request = _Request(dict(feed), Future())
            request.future.set_running_or_notify_cancel()  # it cannot be taken back any more
            self._queues[0].put(request)
        return request.future

    def run(self, feed: Feed) -> Outputs:
        """The outputs of one request."""
        return self.submit(feed).result()

    def map(self, feeds: Iterable[Feed]) -> Iterator[Outputs]:
        """The outputs of each, in the order of ``feeds``, which is read no faster than needed."""
        waiting: deque[Future[Outputs]] = deque()
        for feed in feeds:
            waiting.append(self.submit(feed))
            if len(waiting) >= self._most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def close(self) -> None:
        """Finish what was accepted, and free all stages."""
        with self._order:
            if self._closed:
                return
            self._closed = True
            self._queues[0].put(None)
        for worker in self._workers:
            worker.join()
        self._stack.close()

    def _serve(self, number: int, seat: Seat) -> None:
        """The life of one stage's thread."""
        own, *behind = self._queues[number:]
        following = behind[0] if behind else None
        while (request := own.get()) is not None:
            try:
                given = seat.run(request.carried)
            except Exception as error:
                self._places.release()
                request.future.set_exception(error)
                continue
            request.found |= only(given, self._names)
            request.carried = only({**request.carried, **given}, seat.later)
            if following is None:
                self._places.release()
                request.future.set_result({name: request.found[name] for name in self._names})
            else:
                following.put(request)
        if following is not None:
            following.put(None)
