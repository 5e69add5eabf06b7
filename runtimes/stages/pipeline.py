"""Runs the stages of a model at the same time, each on the request after the one before it.

Every stage takes some requests at a time, in the order in which they came, so answers keep it. Only
so many are on their way, and whoever asks for more waits: memory does not grow with their number.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from runtimes.base import Closable, Feed, TensorSpec
from runtimes.engines.batching import check_feed
from runtimes.errors import ModelError
from runtimes.racing.remote import RemoteRuntime
from runtimes.stages.ahead import Ahead
from runtimes.stages.in_turn import InTurn
from runtimes.stages.manifest import read_manifest
from runtimes.stages.open_stage import Where, open_stage
from runtimes.stages.request import AtWork, Outputs, Request
from runtimes.stages.seat import Seat, only, open_seats
from runtimes.stages.staged import whole
from runtimes.weight_store.shared_sessions import SharedWeights


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
        self._stages: list[AtWork] = [
            self._at_work(number, seat, max(2, depth)) for number, seat in enumerate(self._seats)
        ]

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
            request = Request(dict(feed), Future())
            request.future.set_running_or_notify_cancel()  # it cannot be taken back any more
            self._stages[0].put(request)
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
        for stage in self._stages:
            stage.close()
        self._stack.close()

    def _at_work(self, number: int, seat: Seat, most: int) -> AtWork:
        passed = partial(self._passed, number)
        if isinstance(seat.runtime, RemoteRuntime):
            return Ahead(seat, most, passed, self._failed)
        return InTurn(seat, passed, self._failed)

    def _passed(self, number: int, request: Request, given: Outputs) -> None:
        """Hand a request on to the stage behind ``number``, or answer it."""
        request.found |= only(given, self._names)
        if number + 1 < len(self._stages):
            later = self._seats[number].later
            request.carried = only({**request.carried, **given}, later)
            self._stages[number + 1].put(request)
        else:
            self._places.release()
            request.future.set_result({name: request.found[name] for name in self._names})

    def _failed(self, request: Request, error: Exception) -> None:
        self._places.release()
        request.future.set_exception(error)
