"""The place of one stage: where it runs, what it is called in errors, and how it comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from runtimes.base import Array, Closable, Feed
from runtimes.engines.ort import OrtRuntime
from runtimes.engines.runtime import Runtime
from runtimes.errors import KilnxError, ModelError
from runtimes.stages.manifest import Stage

Start = Callable[[Stage], Runtime]


class Seat(Closable):
    """A stage that is open; it is opened again after its process went away.

    Args:
        stage: The stage.
        title: What it is called in errors.
        later: The names of what the stages behind it read.
        start: Opens it.

    Raises:
        ModelError: What runs there is another model. And what ``start`` raises, with the title.
    """

    def __init__(self, stage: Stage, title: str, later: frozenset[str], start: Start) -> None:
        self.stage, self.title, self.later = stage, title, later
        self._start = start
        self.runtime = self._opened()
        # An engine of this process may be asked by several threads at a time, a process or a
        # connection by one.
        self.is_here = isinstance(self.runtime, OrtRuntime)
        self._turn: AbstractContextManager[object] = (
            nullcontext() if self.is_here else threading.Lock()
        )

    def run(self, carried: Feed) -> dict[str, Array]:
        """The outputs of the stage, of all that goes on; raises its error with its name."""
        with self._turn, self.naming():
            if getattr(self.runtime, "has_ended", False):
                self.open_again()
            return self.runtime.run(only(carried, self.stage.inputs), self.stage.outputs)

    def open_again(self) -> Runtime:
        """Open the stage again after its process went away."""
        self.runtime.close()
        self.runtime = self._opened()
        return self.runtime

    def close(self) -> None:
        """Free the stage, as it was opened last."""
        self.runtime.close()

    def _opened(self) -> Runtime:
        with self.naming():
            runtime = self._start(self.stage)
            try:
                _refuse_other(runtime, self.stage)
            except BaseException:
                runtime.close()
                raise
            return runtime

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Let errors begin with the stage's title."""
        try:
            yield
        except KilnxError as error:
            if str(error).startswith(self.title):
                raise
            raise type(error)(f"{self.title}: {error}") from (error.__cause__ or error)


def open_seats(stages: Sequence[Stage], start: Start, held: ExitStack) -> list[Seat]:
    """Open all stages, in order; ``held`` closes them."""
    return [
        held.enter_context(
            Seat(stage, f"stage {number} of {len(stages)} ({stage.name})", later, start)
        )
        for number, (stage, later) in enumerate(zip(stages, wanted_later(stages), strict=True), 1)
    ]


def wanted_later(stages: Sequence[Stage]) -> list[frozenset[str]]:
    """For each stage, the names of what those behind it read."""
    return [
        frozenset(name for one in stages[place + 1 :] for name in one.inputs)
        for place in range(len(stages))
    ]


def only(arrays: Mapping[str, Array], names: Collection[str]) -> dict[str, Array]:
    """Those of ``arrays`` that are called so."""
    return {name: array for name, array in arrays.items() if name in names}


def _refuse_other(runtime: Runtime, stage: Stage) -> None:
    """Raise ``ModelError`` for a model that does not take and give what the stage does."""
    takes = {spec.name for spec in runtime.inputs}
    gives = {spec.name for spec in runtime.outputs}
    if takes != set(stage.inputs) or not set(stage.outputs) <= gives:
        raise ModelError(
            f"{runtime.name} is another model: it takes {', '.join(sorted(takes))} and gives "
            f"{', '.join(sorted(gives))}; serve {stage.file} there"
        )
