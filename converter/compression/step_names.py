"""The steps of ``compress`` by name, for those who need no more of them."""

from collections.abc import Iterable

from runtimes.errors import DataError
from runtimes.suggestions import did_you_mean

STEP_NAMES = ("dedupe", "prune", "quantize", "weights")
"""In the order in which they run."""


def refuse_unknown_steps(
    steps: Iterable[str], known: Iterable[str] = STEP_NAMES, option: str = ""
) -> None:
    """Raise ``DataError`` for the first of ``steps`` that does not exist; ``option`` gave them."""
    known = list(known)
    for step in steps:
        if step not in known:
            raise DataError(
                f"{option}there is no step {step!r}{did_you_mean(step, known)}; the steps are "
                f"{', '.join(known)}"
            )
