"""What requests have in common, in JSON and over gRPC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.protocol.limits import ProtocolLimits
from runtimes.serving.protocol.messages import (
    NO_PARAMETERS,
    Parameter,
    Parameters,
    RequestedOutput,
)


def requested_output(name: str, binary: bool, parameters: dict[str, Parameter]) -> RequestedOutput:
    """An output, with what its parameters say of it."""
    classes = parameters.pop("classification", None)
    if classes is not None and (type(classes) is not int or classes < 1):
        raise ProtocolError(400, f'output {name!r}: "classification" is a number of classes')
    return RequestedOutput(name, binary, classes, parameters or NO_PARAMETERS)


def check_names(what: str, given: Sequence[Any], limits: ProtocolLimits) -> None:
    """Raise ``ProtocolError`` for too many tensors, and for two of one name."""
    if len(given) > limits.tensors:
        raise ProtocolError(413, f"a request may name {limits.tensors} {what}, not {len(given)}")
    if len(given) > 1 and len({each.name for each in given}) < len(given):
        raise ProtocolError(400, f"two {what} have the same name")


def refuse_shared_memory(name: str, parameters: Parameters) -> None:
    """Raise ``ProtocolError`` for a tensor that is said to be in shared memory."""
    if "shared_memory_region" in parameters:
        raise ProtocolError(400, f"{name!r}: this server has no shared memory; send the data")
