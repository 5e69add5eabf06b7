"""The jobs of an agent: each a process, asked one thing after the other.

A request has the number of its place in the job. The one that was answered last is kept with its
answer: a client whose link broke sends it again, and gets that answer without anything being run a
second time.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from runtimes.agent import messages
from runtimes.agent.errors_sent import told_of_error
from runtimes.agent.limits import Counter, Limits, Turns
from runtimes.agent.messages import Request, Told
from runtimes.agent.process import JobDied, JobProcess
from runtimes.agent.protocol import encode
from runtimes.agent.store import MissingParts, PartStore
from runtimes.base import Feed
from runtimes.errors import DataError
from runtimes.json_values import plain

# What is timed runs while nothing else does.
_TIMED = ("profile", "measure", "hold", "time")
# Models of these stay as long as the job, which has them open.
_HELD = ("open",)


class Busy(Exception):
    """There are as many jobs as the agent runs at a time."""


class OutOfOrder(Exception):
    """A request that is neither the next one nor the last one again."""


class Job:
    """One process, and the last answer that it gave."""

    def __init__(self, folder: Path, store: PartStore, limits: Limits, turns: Turns) -> None:
        self._folder, self._store, self._limits, self._turns = folder, store, limits, turns
        folder.mkdir(mode=0o700)
        self._process = JobProcess(folder, limits)
        self._changed = threading.Condition()
        self._number = 0
        self._answer: bytes | None = b""
        self._used, self._ended = time.monotonic(), False

    @property
    def pid(self) -> int:
        """The process that runs the models."""
        return self._process.pid

    def idle_for(self, now: float) -> float:
        """Seconds since somebody asked for something; none while it works."""
        with self._changed:
            return 0.0 if self._answer is None else now - self._used

    def ask(self, number: int, begin: Callable[[], tuple[Request, Feed]]) -> None:
        """Begin with request ``number``, unless it is the last one, sent again.

        ``begin`` reads the request. Raises ``OutOfOrder``, ``MissingParts`` where parts of its
        models have to be sent first, and ``DataError`` for models that are too large.
        """
        with self._changed:
            self._used = time.monotonic()
            if number == self._number:
                return
            if number != self._number + 1 or self._answer is None or self._ended:
                raise OutOfOrder
            request, tensors = begin()
            self._refuse(request)
            self._number, self._answer = number, None
        threading.Thread(target=self._work, args=(number, request, tensors), daemon=True).start()

    def answer(self, number: int, seconds: float) -> bytes | None:
        """The answer to request ``number``, None if it takes longer than ``seconds``."""
        with self._changed:
            if number != self._number:
                raise OutOfOrder
            self._changed.wait_for(lambda: self._answer is not None, seconds)
            self._used = time.monotonic()
            return self._answer

    def end(self) -> None:
        """End the process and remove its files."""
        with self._changed:
            self._ended = True
        self._process.end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _refuse(self, request: Request) -> None:
        for model in request.models:
            if model.size > self._limits.model_bytes:
                raise DataError(
                    f"a model of {model.size >> 20} MiB is larger than this agent takes "
                    f"({self._limits.model_bytes >> 20} MiB)"
                )
        missing = self._store.missing(p.digest for m in request.models for p in m.parts)
        if missing:
            raise MissingParts(missing)

    def _work(self, number: int, request: Request, tensors: Feed) -> None:
        try:
            with self._turns.turn(alone=request.operation in _TIMED):
                found = self._done(number, request, tensors)
        except JobDied as error:
            self._ended = True
            found = _failed(Told("ModelError", str(error)))
        except MissingParts as error:  # thrown away since they were looked for
            found = encode({"missing": list(error.digests)})
        except Exception as error:
            found = _failed(told_of_error(error, f"{self._folder}/"))
        with self._changed:
            self._answer, self._used = found, time.monotonic()
            self._changed.notify_all()

    def _done(self, number: int, request: Request, tensors: Feed) -> bytes:
        folders = [self._folder / f"{number}-{n}" for n in range(len(request.models))]
        try:
            paths = [
                str(self._store.assemble(model, folder).relative_to(self._folder))
                for model, folder in zip(request.models, folders, strict=True)
            ]
            body: Mapping[str, Any] = {
                "operation": request.operation,
                "options": request.options or {},
                "paths": paths,
            }
            return self._process.ask(encode(body, tensors))
        finally:
            for folder in folders if request.operation not in _HELD else ():
                shutil.rmtree(folder, ignore_errors=True)


def _failed(told: messages.Told) -> bytes:
    return encode({"error": plain(told)})


class Jobs:
    """All jobs, by the names that clients gave them."""

    def __init__(self, folder: Path, store: PartStore, limits: Limits) -> None:
        self._folder, self._store, self._limits = folder, store, limits
        self._turns, self._room = Turns(), Counter(limits.jobs)
        self._jobs: dict[str, Job] = {}
        self._lock, self._closed = threading.Lock(), False

    def start(self, name: str) -> None:
        """Start a job, unless there is one of this name; raises ``Busy``."""
        with self._lock:
            if name in self._jobs:
                return
            if self._closed or not self._room.take():
                raise Busy
            try:
                self._jobs[name] = Job(self._folder / name, self._store, self._limits, self._turns)
            except BaseException:
                self._room.give_back()
                raise

    def find(self, name: str) -> Job | None:
        """The job of this name."""
        with self._lock:
            return self._jobs.get(name)

    def end(self, name: str) -> None:
        """End a job; where there is none, there is nothing to do."""
        with self._lock:
            job = self._jobs.pop(name, None)
        if job is not None:
            with suppress(OSError):
                job.end()
            self._room.give_back()

    def end_idle(self) -> None:
        """End the jobs that nobody has asked anything for a while."""
        now = time.monotonic()
        with self._lock:
            jobs = list(self._jobs.items())
        for name, job in jobs:
            if job.idle_for(now) > self._limits.idle_seconds:
                self.end(name)

    def end_all(self) -> None:
        """End all jobs, and start no more."""
        with self._lock:
            self._closed = True
            names = list(self._jobs)
        for name in names:
            self.end(name)
