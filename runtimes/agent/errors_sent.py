"""Errors that travel: by the name of their class, of which only kilnx's own are made again."""

from __future__ import annotations

from runtimes import errors
from runtimes.agent.messages import Told
from runtimes.errors import KilnxError, ModelError, first_line

_KINDS: dict[str, type[KilnxError]] = {
    kind.__name__: kind
    for kind in (
        errors.BudgetError,
        errors.ConversionError,
        errors.DataError,
        errors.ModelError,
        errors.RuntimeUnavailable,
        errors.UnsupportedOperator,
    )
}
_LONGEST = 2000


def told_of_error(error: BaseException, inside: str = "") -> Told:
    """What is sent of ``error``; ``inside``: a folder whose name means nothing elsewhere."""
    kind = type(error).__name__
    if isinstance(error, KilnxError):
        message = str(error)
    elif isinstance(error, MemoryError):
        kind, message = "ModelError", f"there is not enough memory ({first_line(error)})"
    else:
        kind, message = "Defect", f"{kind}: {first_line(error)}"
    return Told(kind, message.replace(inside, "") if inside else message)


def error_of(told: Told, device: str) -> KilnxError:
    """The error that was told; what is no class of kilnx is a ``ModelError``."""
    kind = _KINDS.get(told.kind, ModelError)
    plain = "".join(one if one.isprintable() else " " for one in told.message[:_LONGEST])
    return kind(f"on {device}: {plain}")
