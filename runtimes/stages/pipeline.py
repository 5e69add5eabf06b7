"""Runs the stages of a model at the same time, each on the request after the one before it.

Every stage has a thread that feeds it, and a queue of a few requests before it. A full queue makes
the stage before it wait, and so whoever asks: memory does not grow with the number of requests.
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
from pathlib import Path

from runtimes.base import Array, Closable, Feed, TensorSpec
from runtimes.engines.batching import check_feed
from runtimes.engines.runtime import Runtime
from runtimes.errors import KilnxError, ModelError
from runtimes.stages.manifest import Stage, read_manifest
from runtimes.stages.open_stage import Where, open_stage
from runtimes.stages.staged import pass_on, whole

Outputs = dict[str, Array]


@dataclass
class _Request:
    carried: dict[str, Array]
    future: Future[Outputs]
    found: Outputs = field(default_factory=dict)


_Queue = queue.Queue[_Request | None]


class Pipeline(Closable):
    """The stages of a folder, open and at work.

    Args:
        folder: What ``partition`` wrote.
        where: ``"processes"``: each stage in a process of its own; ``"threads"``: all in this one.
            A stage whose device is the address of a served model runs there in both.
        threads: Threads of a run, in each stage.
        depth: How many requests may wait before each stage.
        token: What servers want to know.

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
    ) -> None:
        self._folder = Path(folder)
        stages = read_manifest(self._folder)
        self._how = _How(self._folder, stages.exact, where, threads, token)
        self._stack = ExitStack()
        self._queues: list[_Queue] = [queue.Queue(depth) for _ in stages.stages]
        self._depth = depth * len(stages.stages)
        self._order, self._closed = threading.Lock(), False
        try:
            self._seats = seats = [
                _Seat(self._stack, stage, f"stage {n} of {len(stages.stages)}", self._how)
                for n, stage in enumerate(stages.stages, 1)
            ]
            loaded = whole(stages, [seat.runtime.loaded for seat in seats])
        except BaseException:
            self._stack.close()
            raise
        self.inputs, self.outputs = loaded.inputs, loaded.outputs
        self._names = stages.outputs
        self._workers = [
            threading.Thread(
                target=self._serve,
                args=(number, seat, stages.stages[number + 1 :]),
                name=f"kilnx {seat.title}",
                daemon=True,
            )
            for number, seat in enumerate(seats)
        ]
        for worker in self._workers:
            worker.start()

    def submit(self, feed: Feed) -> Future[Outputs]:
        """Give a request to the first stage; waits while its queue is full.

        Raises ``DataError`` for a feed that does not fit, ``ModelError`` where the pipeline is
        closed; the future raises what goes wrong in a stage, with the stage's name.
        """
        check_feed(feed, self.inputs, str(self._folder))
        with self._order:
            if self._closed:
                raise ModelError(f"the pipeline of {self._folder} is closed")
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
            if len(waiting) > self._depth:
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

    def _serve(self, number: int, seat: _Seat, later: tuple[Stage, ...]) -> None:
        """The life of one stage's thread."""
        own = self._queues[number]
        following = self._queues[number + 1] if later else None
        while (request := own.get()) is not None:
            try:
                given = seat.run(request.carried)
            except Exception as error:
                request.future.set_exception(error)
                continue
            request.found |= {name: given[name] for name in self._names if name in given}
            request.carried = pass_on({**request.carried, **given}, seat.stage, later)
            if following is None:
                request.future.set_result({name: request.found[name] for name in self._names})
            else:
                following.put(request)
        if following is not None:
            following.put(None)


@dataclass(frozen=True)
class _How:
    folder: Path
    exact: str | None
    where: Where
    threads: int | None
    token: str | None


class _Seat:
    """A stage's place: its runtime, opened again after its process or server went away."""

    def __init__(self, stack: ExitStack, stage: Stage, title: str, how: _How) -> None:
        self.stage, self.title, self._how = stage, f"{title} ({stage.name})", how
        self.runtime = self._opened()
        stack.callback(self.close)

    def run(self, carried: Feed) -> Outputs:
        """The outputs of the stage; raises its error with its name before it."""
        try:
            if getattr(self.runtime, "has_ended", False):
                self.runtime.close()
                self.runtime = self._opened()
            return self.runtime.run({name: carried[name] for name in self.stage.inputs})
        except KilnxError as error:
            raise type(error)(f"{self.title}: {error}") from error

    def close(self) -> None:
        """Free the stage, as it was opened last."""
        self.runtime.close()

    def _opened(self) -> Runtime:
        how = self._how
        return open_stage(
            how.folder,
            self.stage,
            exact=how.exact,
            where=how.where,
            threads=how.threads,
            token=how.token,
        )
