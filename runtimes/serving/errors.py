"""What goes wrong with a request, and the HTTP status that says so."""

from __future__ import annotations

import math
from collections.abc import Sequence

from runtimes.errors import BudgetError, DataError, KilnxError, ModelError, RuntimeUnavailable
from runtimes.serving.protocol.errors import ProtocolError

INTERNAL = "the server failed; its log says why"
_LONGEST_WAIT = 60.0


class Overloaded(ProtocolError):
    """More requests than the server works off in time; ``seconds`` says when to try again."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(429, message)
        self.seconds = wait = min(max(seconds, 0.001), _LONGEST_WAIT)
        # Whole seconds, as HTTP wants them, and milliseconds for those who can use them.
        whole, fine = math.ceil(wait), math.ceil(wait * 1000)
        self.headers = [(b"retry-after", b"%d" % whole), (b"retry-after-ms", b"%d" % fine)]


class WrongMethod(ProtocolError):
    """A path that is there, asked in another way than it can be."""

    def __init__(self, path: str, method: str, allowed: Sequence[str]) -> None:
        super().__init__(405, f"{path[:200]!r} takes {' or '.join(allowed)}, not {method[:20]}")
        self.headers = [(b"allow", ", ".join(allowed).encode())]


class DeadlineExceeded(ProtocolError):
    """A request whose time was over before it could run."""

    def __init__(self) -> None:
        super().__init__(504, "the deadline of the request passed before it could be run")


class Unavailable(ProtocolError):
    """A model, or a server, that answers no requests now."""

    def __init__(self, message: str) -> None:
        super().__init__(503, message)


class ClientLeft(ProtocolError):
    """Nobody waits for the answer any more; it is told to no one, but counted."""

    def __init__(self) -> None:
        super().__init__(499, "the client closed the connection")


def not_found(message: str) -> ProtocolError:
    """What was asked for does not exist here."""
    return ProtocolError(404, message)


def as_protocol_error(error: BaseException) -> ProtocolError:
    """Any error of a request, as it is answered; what nobody foresaw tells nothing."""
    if isinstance(error, ProtocolError):
        return error
    if isinstance(error, MemoryError):
        return Unavailable("there is not enough memory for this request; send fewer samples")
    if isinstance(error, KilnxError):
        return ProtocolError(_status(error), str(error))
    return ProtocolError(500, INTERNAL)


def _status(error: KilnxError) -> int:
    if isinstance(error, ModelError):
        # ONNX Runtime's own word for inputs that an operator cannot take, such as an index that
        # is out of range.
        return 400 if type(error.__cause__).__name__ == "InvalidArgument" else 500
    if isinstance(error, DataError):
        return 400
    if isinstance(error, RuntimeUnavailable):
        return 503
    return 422 if isinstance(error, BudgetError) else 500
