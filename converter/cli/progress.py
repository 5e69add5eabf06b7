"""Progress on stderr: one live line on a terminal, a line a stage elsewhere; none with --quiet."""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Annotated, Any

import typer

from converter.cli.plain_text import writable
from runtimes.progress import Clock, Progress, duration, silent

# Elsewhere than on a terminal: a command that has not said anything yet waits for so long, and one
# whose stage goes on says how far it is this often.
_PATIENCE = 0.5
_SECONDS_BETWEEN_LINES = 30.0
_DOT = "⠋"

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


def with_quiet(command: Callable[..., Any]) -> Callable[..., Any]:
    """``command`` with the option ``--quiet``."""
    own = inspect.signature(command)
    option = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress on stderr.")]
    quiet = inspect.Parameter(
        "quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=option
    )

    @functools.wraps(command)
    def call(*, quiet: bool = False, **options: Any) -> Any:
        token = _quiet.set(quiet)
        try:
            return command(**options)
        finally:
            _quiet.reset(token)

    hints = {**inspect.get_annotations(command, eval_str=True), "quiet": option}
    call.__annotations__ = hints
    call.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[
            one.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[one.name])
            for one in (*own.parameters.values(), quiet)
        ]
    )
    return call


@contextmanager
def progress(patience: float = _PATIENCE) -> Iterator[Progress]:
    """Yield a function that says what is being done; at the end say how long it took.

    Args:
        patience: Seconds in which a pipe is told nothing, as what is wrong is mostly found in them.
    """
    if _quiet.get():
        yield silent
        return
    clock = Clock()
    with _live(clock) if sys.stderr.isatty() else _Lines(clock, patience).running() as say:
        yield say
    if clock.elapsed() >= patience:
        _write(f"took {duration(clock.elapsed())}")


class _Lines:
    """A line for every stage, and a sign of life where one goes on."""

    def __init__(self, clock: Clock, patience: float) -> None:
        self._clock, self._patience = clock, patience
        self._over, self._speaks = threading.Event(), patience <= 0
        self._told = set[str]()
        self._lock = threading.Lock()

    @contextmanager
    def running(self) -> Iterator[Progress]:
        """Yield the function that is told of stages."""
        thread = threading.Thread(target=self._keep_on, daemon=True)
        thread.start()
        try:
            yield self._say
        finally:
            self._over.set()
            thread.join()

    def _say(self, stage: str, done: int | None = None, total: int | None = None) -> None:
        with self._lock:
            self._clock.tell(stage, done, total)
            self._announce()

    def _announce(self) -> None:
        stage = self._clock.stage
        if self._speaks and stage and stage not in self._told:  # searches come back to a stage
            self._told.add(stage)
            _write(stage)

    def _keep_on(self) -> None:
        if self._over.wait(self._patience):
            return
        with self._lock:
            self._speaks = True
            self._announce()
        while not self._over.wait(_SECONDS_BETWEEN_LINES):
            with self._lock:
                _write(f"{self._clock} ({duration(self._clock.elapsed())} so far)")


@contextmanager
def _live(clock: Clock) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    spinner = SpinnerColumn("dots" if writable(_DOT, sys.stderr) == _DOT else "line")
    columns = (spinner, TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def say(stage: str, done: int | None = None, total: int | None = None) -> None:
            clock.tell(stage, done, total)
            bar.update(task, description=writable(str(clock), sys.stderr))

        yield say


def _write(line: str) -> None:
    with suppress(OSError, ValueError):  # nobody reads it any more, which is no reason to stop
        sys.stderr.write(writable(f"kilnx: {line}\n", sys.stderr))
        sys.stderr.flush()
