"""A defect of kilnx costs the part that it is in, never the whole result.

What a step makes of a model, a table or a chart of a report can fail without anything else being
less right. Such a part is left out and says so, with a traceback to report. What speaks of the
user's own model, data or machine is no defect: it is raised, and ends the run.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from runtimes.errors import KilnxError, first_line
from runtimes.progress import Progress

STRICT = "KILNX_STRICT"
"""Environment variable of kilnx's own tests: with it, a defect is raised as what it is."""

_CALLERS = "raised by the function that was given as progress"

T = TypeVar("T")


@dataclass(frozen=True)
class Defect:
    """An error that nobody expected: the part that it cost, its first line, its traceback.

    ``explained``: its message is meant for users, who may find that it is true.
    """

    part: str
    error: str
    traceback: str
    memory: bool = False
    explained: bool = False

    @classmethod
    def of(cls, part: str, error: Exception) -> Defect:
        """What ``error`` says of ``part``."""
        said = first_line(error)
        kind = type(error).__name__
        return cls(
            part,
            said if said == kind else f"{kind}: {said}",
            "".join(traceback.format_exception(error)),
            isinstance(error, MemoryError),
            isinstance(error, KilnxError),
        )

    def __str__(self) -> str:
        if self.memory:
            return (
                f"{self.part} needs more memory than there is and was left out ({self.error}); "
                "try fewer samples or a larger machine"
            )
        whose = (
            "if this is not so with your model" if self.explained else "this is a defect of kilnx"
        )
        return (
            f"{self.part} failed and was left out: {self.error}; {whose}, please report it with "
            "the traceback in the JSON report"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def contain(
    part: str, action: Callable[[], T], is_users: Callable[[Exception], bool] = lambda _: False
) -> T | Defect:
    """What ``action`` returns, or the defect that it met.

    Raises what ``is_users`` calls the user's to mend, what the caller's own progress function
    raised, and everything while ``KILNX_STRICT`` is set.
    """
    try:
        return action()
    except Exception as error:
        if os.environ.get(STRICT) or _CALLERS in getattr(error, "__notes__", ()):
            raise
        if is_users(error):
            raise
        return Defect.of(part, error)


def callers_own(progress: Progress | None) -> Progress | None:
    """``progress``, whose errors pass through ``contain``: callers may stop a run by raising."""
    if progress is None:
        return None

    def tell(stage: str, *counts: int | None, **named: int | None) -> None:
        try:
            progress(stage, *counts, **named)
        except Exception as error:
            error.add_note(_CALLERS)
            raise

    return tell
