"""Errors that travel: by the name of their class, of which only kilnx's own are made again."""

from __future__ import annotations

from runtimes.agent.messages import Told
from runtimes.errors import KilnxError, ModelError, error_class, first_line

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
    kind = error_class(told.kind) or ModelError
    plain = "".join(one if one.isprintable() else " " for one in told.message[:_LONGEST])
    return kind(f"on {device}: {plain}")
