"""The steps of ``compress`` by name, for those who need no more of them."""

import difflib
from collections.abc import Iterable

from runtimes.errors import DataError

STEP_NAMES = ("dedupe", "prune", "quantize")
"""In the order in which they run."""


def refuse_unknown_steps(
    steps: Iterable[str], known: Iterable[str] = STEP_NAMES, option: str = ""
) -> None:
    """Raise ``DataError`` for the first of ``steps`` that does not exist; ``option`` gave them."""
    known = list(known)
    for step in steps:
        if step not in known:
            near = difflib.get_close_matches(step.lower(), known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise DataError(
                f"{option}there is no step {step!r}{hint}; the steps are {', '.join(known)}"
            )
