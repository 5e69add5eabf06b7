"""Shapes that clients send, checked before anything of their size is made."""

from __future__ import annotations

from collections.abc import Sequence

from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.protocol.limits import ProtocolLimits


def count_elements(name: str, shape: Sequence[int], limits: ProtocolLimits) -> int:
    """The elements of a tensor of this shape; raises ``ProtocolError`` above the limits."""
    if len(shape) > limits.dimensions:
        raise ProtocolError(
            400,
            f"input {name!r} has {len(shape)} dimensions; this server takes {limits.dimensions}",
        )
    elements = 1
    for size in shape:
        if size < 0:
            raise ProtocolError(400, f"input {name!r}: a shape holds no negative sizes: {shape}")
        elements *= size
    if elements > limits.elements:
        raise too_many(limits.elements)
    return elements


def too_many(most: int) -> ProtocolError:
    """The error for a request with more elements than ``most``."""
    return ProtocolError(413, f"a request may hold {most} elements; send smaller batches")
