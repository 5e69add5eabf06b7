"""What a worker says of a shard: bytes, or what went wrong."""

from __future__ import annotations

import pickle
import traceback
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from runtimes.errors import DataError, KilnxError, error_class, first_line
from runtimes.version import own_version


@dataclass(frozen=True)
class Answer:
    """``result``, or the class and message of an error; ``version`` of the kilnx that says so."""

    version: str
    result: bytes = b""
    error: str = ""
    message: str = ""

    def unwrap(self) -> bytes:
        """The result; raises what the worker raised."""
        if not self.error:
            return self.result
        known = error_class(self.error)
        if known is None:
            raise WorkerDefect(f"a worker failed:\n{self.message}")
        raise known(self.message)


class WorkerDefect(RuntimeError):
    """An error in a worker that is no ``KilnxError``; holds the traceback."""


@lru_cache(maxsize=1)
def _opened(task: bytes) -> Any:
    """The task, which a worker keeps for its next shard."""
    return pickle.loads(task)


def version_there() -> str:
    """The version of the kilnx that runs where this is called."""
    return own_version()


def answer(task: bytes, shard: Any) -> Answer:
    """Run a task, as ``pickled`` gave it, on ``shard``: in a worker."""
    try:
        return Answer(own_version(), _opened(task)(shard))
    except KilnxError as error:
        return Answer(own_version(), error=type(error).__name__, message=str(error))
    except Exception as error:  # told on the other side
        return Answer(own_version(), error=type(error).__name__, message=traceback.format_exc())


def pickled(task: Any) -> bytes:
    """``task`` for another process; raises ``DataError`` where it cannot be sent."""
    try:
        return pickle.dumps(task, protocol=5)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise DataError(
            f"the data cannot be sent to a worker ({first_line(error)}); give a path or arrays"
        ) from error
