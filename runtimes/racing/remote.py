"""A model in an engine in another process, as a runtime like any other."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from runtimes.base import Array, Feed, SelfTimed
from runtimes.engines.ort_session import Optimization
from runtimes.engines.runtime import Loaded, Runtime
from runtimes.racing.messages import Opened, Pool
from runtimes.racing.process import EngineProcess


class RemoteRuntime(Runtime):
    """One ONNX file in one engine, in a process of its own.

    Args:
        model: The path of an ONNX file.
        provider: What ``open_runtime`` takes.
        threads: Threads of a run; None leaves the choice to the engine.
        allow_fallback: Whether nodes may run on another provider.
        patience: Seconds after which an engine that does not answer is given up.
        optimization: ONNX Runtime's graph optimization level.
        pool: Weights that the session shares with others, on ``cpu``; None: it has its own.

    Attributes:
        load_seconds: How long the engine took to load the model.

    Raises:
        ModelError: The engine cannot load the model, or its process died of it.
    """

    engine = "another process"

    load_seconds: float

    def __init__(
        self,
        model: str | os.PathLike[str],
        provider: str,
        *,
        threads: int | None = 1,
        allow_fallback: bool = False,
        patience: float = 600.0,
        optimization: Optimization = "all",
        pool: Pool | None = None,
    ) -> None:
        self._provider, self._fallback, self._level = provider, allow_fallback, optimization
        self._pool = pool
        self._numbers = itertools.count()
        self._process = EngineProcess(f"{Path(model).name} on {provider}", patience=patience)
        try:
            super().__init__(os.fspath(model), name=os.fspath(model), threads=threads)
        except BaseException:
            self._process.close()
            raise

    @property
    def has_ended(self) -> bool:
        """Whether its process is gone."""
        return self._process.has_ended

    def begin(self, slot: int, feed: Feed, names: Sequence[str]) -> None:
        """Let a run begin behind those that have; ``slot`` is free again when it was answered.

        Nothing is checked. Raises ``OSError`` where the process is gone.
        """
        self._process.begin_run(slot, feed, names)

    def begin_rest(self, slot: int) -> None:
        """Let an answer come, of nothing, behind all others."""
        self._process.begin(slot, "rest")

    def answer(self, overdue: Callable[[], bool]) -> list[Array]:
        """The outputs of the first run that was not answered yet.

        ``overdue``: asked where none came for as long as the patience lasts; then it is given up.
        """
        found: list[Array] = self._process.answer(overdue)
        return found

    def hold(self, key: str, feed: Feed) -> float:
        """Keep ``feed`` there to be timed under ``key``; the seconds of its first run."""
        return float(self._process.ask("hold", key, dict(feed)))

    def time(self, key: str, seconds: float) -> list[float]:
        """Seconds of each run of what was held, until all of them took ``seconds``."""
        found: list[float] = self._process.ask("time", key, seconds)
        return found

    def memory(self) -> int | None:
        """Bytes that engine and model added to the peak of their process."""
        found: int | None = self._process.ask("memory")
        return found

    def disturbed(self) -> float:
        """The share of the timed seconds in which a run waited for a core."""
        return float(self._process.ask("disturbed"))

    def _load(self, source: str) -> Loaded:
        opened: Opened = self._process.ask(
            "load", source, self._provider, self.threads, self._fallback, self._level, self._pool
        )
        self.load_seconds = opened.seconds
        return opened.loaded

    def _run(self, feed: Feed, names: Sequence[str]) -> Sequence[Array]:
        return self._process.run(feed, names)

    def _unload(self) -> None:
        self._process.close()

    def _is_models_fault(self, error: Exception) -> bool:
        return False  # what the engine says came as a KilnxError; the rest is our own

    def _prepare(self, feed: Feed) -> SelfTimed:
        """One run there: the way between the processes is no part of its time."""
        key = f"prepared {next(self._numbers)}"
        self.hold(key, feed)
        return SelfTimed(lambda: self.time(key, 0.0)[0])
