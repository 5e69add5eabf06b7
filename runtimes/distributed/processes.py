"""Shards in processes of this machine: a thread waits for each, and starts it anew if it dies."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from runtimes.agent.channel import ChannelError, receive, send
from runtimes.child_process import last_line, python_path, signal_name
from runtimes.distributed.answers import Answer, pickled
from runtimes.distributed.worker import MOST_BYTES
from runtimes.errors import RuntimeUnavailable

_MOST_DEATHS = 3


@contextmanager
def in_processes(
    task: Any, shards: Sequence[Any], workers: int
) -> Iterator[Iterator[tuple[Any, bytes]]]:
    """``map_shards`` in ``workers`` processes."""
    pool = _Pool(pickled(task), shards)
    threads = [
        threading.Thread(target=pool.serve, name=f"shards {number}", daemon=True)
        for number in range(min(workers, len(shards)))
    ]
    for thread in threads:
        thread.start()
    try:
        yield pool.results()
    finally:
        pool.stop()
        for thread in threads:
            thread.join()


class _Pool:
    """Which shards wait, run and are done; ``serve`` runs in a thread for each process."""

    def __init__(self, task: bytes, shards: Sequence[Any]) -> None:
        self._task = task
        self._count = len(shards)
        self._waiting = deque(shards)
        self._running: Counter[Any] = Counter()
        self._deaths: Counter[Any] = Counter()
        self._done: set[Any] = set()
        self._found: queue.SimpleQueue[tuple[Any, Answer] | Exception] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._stopped = False
        self._workers: set[_Worker] = set()

    def results(self) -> Iterator[tuple[Any, bytes]]:
        """Every shard once, with its result, as they come."""
        for _ in range(self._count):
            found = self._found.get()
            if isinstance(found, Exception):
                raise found
            shard, answer = found
            yield shard, answer.unwrap()

    def stop(self) -> None:
        """End all processes; nothing is started anew."""
        with self._lock:
            self._stopped = True
            workers = list(self._workers)
        for worker in workers:
            worker.kill()

    def serve(self) -> None:
        """Run shards in one process after the other, until none is left."""
        try:
            while (shard := self._next()) is not None:
                self._serve_from(shard)
        except Exception as error:  # the thread that waits for results raises it
            self._found.put(error)

    def _serve_from(self, shard: Any) -> None:
        """Run ``shard`` and those after it in a new process, until one is left or it dies."""
        worker = self._start()
        if worker is None:
            return
        try:
            while shard is not None:
                self._finish(shard, worker.ask(shard))
                shard = self._next()
        except ChannelError:
            self._died(shard, worker)
        finally:
            with self._lock:
                self._workers.discard(worker)
            worker.kill()

    def _start(self) -> _Worker | None:
        with self._lock:
            if self._stopped:
                return None
            worker = _Worker(self._task)
            self._workers.add(worker)
            return worker

    def _next(self) -> Any:
        """The next shard: one that waits, or else one that another process is slow with."""
        with self._lock:
            if self._stopped:
                return None
            left = [one for one, copies in self._running.items() if copies == 1]
            shard = self._waiting.popleft() if self._waiting else next(iter(left), None)
            if shard is not None:
                self._running[shard] += 1
            return shard

    def _finish(self, shard: Any, answer: Answer) -> None:
        with self._lock:
            del self._running[shard]
            if shard not in self._done:
                self._done.add(shard)
                self._found.put((shard, answer))

    def _died(self, shard: Any, worker: _Worker) -> None:
        why = worker.ending()
        with self._lock:
            self._running[shard] -= 1
            if self._stopped or shard in self._done:
                return
            self._deaths[shard] += 1
            if self._deaths[shard] >= _MOST_DEATHS:
                raise RuntimeUnavailable(
                    f"{_MOST_DEATHS} processes died over the shard {shard} ({why}); is memory "
                    "short? Use fewer workers or more shards"
                )
            if self._running[shard] <= 0:
                del self._running[shard]
                self._waiting.appendleft(shard)


class _Worker:
    """One process, told the task."""

    def __init__(self, task: bytes) -> None:
        self._channel, theirs = socket.socketpair()
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "runtimes.distributed.worker", str(theirs.fileno())],
                env={**os.environ, "PYTHONPATH": python_path()},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._printed,
                stderr=self._printed,
                start_new_session=True,  # Ctrl-C is for the process that started it
            )
        self._told = False
        self._task = task

    def ask(self, shard: Any) -> Answer:
        """Run a shard there; raises ``ChannelError`` where the process dies."""
        if not self._told:
            send(self._channel, self._task)
            self._told = True
        send(self._channel, pickle.dumps(shard))
        found: Answer = pickle.loads(receive(self._channel, MOST_BYTES))
        return found

    def ending(self) -> str:
        """How the process ended, and what it said last."""
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(5)
            said = last_line(self._printed)
            how = signal_name(code) if code < 0 else f"exit code {code}"
            return f"{how}: {said}" if said else how
        return "it hung"

    def kill(self) -> None:
        """End the process and wait for it; calling it again does nothing."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._channel.close()
        self._printed.close()
