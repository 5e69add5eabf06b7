"""The process of one entry: it loads a model in one engine, runs it and times it.

``runtimes.racing.process`` starts it with the number of a socket and asks; every question is
answered by a result or an error. Whatever an engine prints goes to a log, and whatever it does to
its process, a crash included, stays there.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

# Loaded before memory is looked at: every entry needs them, whatever its engine.
import numpy as np  # noqa: F401
import onnx  # noqa: F401

from runtimes.base import Array, Feed
from runtimes.engines.open_runtime import open_runtime
from runtimes.engines.ort import NO_SPINNING
from runtimes.engines.ort_session import Optimization
from runtimes.engines.runtime import Runtime
from runtimes.errors import KilnxError, first_line
from runtimes.profiling.stopwatch import Stopwatch
from runtimes.racing.arrays import Arrays
from runtimes.racing.channel import Channel
from runtimes.racing.messages import Failure, Opened, Pool

if TYPE_CHECKING:
    from runtimes.weight_store.shared_sessions import SharedWeights


class Worker:
    """What the other process may ask for, one method each."""

    def __init__(self) -> None:
        self._watch = Stopwatch()
        self._held = ExitStack()

    def load(  # noqa: PLR0917
        self,
        model: str,
        provider: str,
        threads: int | None,
        fallback: bool,
        optimization: Optimization = "all",
        pool: Pool | None = None,
    ) -> Opened:
        """Open ``model`` with the engine's own defaults, except that no thread keeps spinning.

        With a ``pool`` the session shares its weights, also with those of other processes.
        """

        def start() -> Runtime:
            if pool is not None:
                return self._open_shared(pool, threads).open(model, optimization=optimization)
            return open_runtime(
                model,
                provider,
                threads=threads,
                optimization=optimization,
                config=NO_SPINNING,
                allow_fallback=fallback,
            )

        return Opened(self._watch.open(start).loaded, self._watch.load_seconds)

    def run(self, feed: Feed, names: Sequence[str]) -> list[Array]:
        """The outputs called ``names`` for a feed that fits: it was checked before it was sent."""
        return list(self._watch.runtime.run_checked(feed, names))

    def hold(self, key: str, feed: Feed) -> float:
        """Keep ``feed`` to be timed under ``key``; the seconds of its first run."""
        return self._watch.hold(key, feed)

    def time(self, key: str, seconds: float) -> list[float]:
        """Seconds of each run, until all of them took ``seconds``; one run at least."""
        return self._watch.time(key, seconds)

    def disturbed(self) -> float:
        """The share of the timed seconds in which a run waited for a core."""
        return self._watch.disturbed()

    def memory(self) -> int | None:
        """Bytes that engine and model added to the peak of this process."""
        return self._watch.memory()

    def rest(self) -> None:
        """Answer, once all that was asked before is answered."""

    def close(self) -> None:
        """Free the model, and with it what the engine started."""
        self._watch.close()
        self._held.close()

    def _open_shared(self, pool: Pool, threads: int | None) -> SharedWeights:
        from runtimes.weight_store.shared_sessions import SharedWeights

        return self._held.enter_context(
            SharedWeights(pool.folder, threads=threads, prepack=pool.prepack, arena=pool.arena)
        )


def answer(worker: Worker, question: str, arguments: Sequence[Any]) -> Any:
    """The result of a question, or the ``Failure`` that it ended in."""
    try:
        return getattr(worker, question)(*arguments)
    except KilnxError as error:
        return Failure(type(error).__name__, str(error))
    except MemoryError as error:
        return Failure("ModelError", f"there is not enough memory ({error or 'none is left'})")
    except Exception as error:  # an engine's fault is its entry's, and no other's
        return Failure("ModelError", f"{type(error).__name__}: {first_line(error)}")


def main() -> None:
    """Answer what comes through the socket that the command line names, until it is closed."""
    channel, worker = Channel(socket.socket(fileno=int(sys.argv[1]))), Worker()
    while True:
        try:
            asked = channel.receive()
        except (EOFError, OSError):
            return
        if isinstance(asked, Arrays):
            given, wanted = asked.told
            found = answer(worker, "run", (dict(zip(given, asked.arrays, strict=True)), wanted))
            told = Arrays(None, found) if isinstance(found, list) else found
            channel.send(told, slot=channel.slot)
            continue
        question, arguments = asked
        channel.send(answer(worker, question, arguments), slot=channel.slot)
        if question == "close":
            return
