"""What a client says of an input, checked before anything of its size is made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np

from runtimes.serving.protocol.datatypes import dtype_of
from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.protocol.limits import ProtocolLimits


class Declared(msgspec.Struct, frozen=True, eq=False):
    """An input before its data: ``elements`` is how many ``shape`` has."""

    name: str
    datatype: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    elements: int

    def error(self, message: str, status: int = 400) -> ProtocolError:
        """An error that names this input."""
        return ProtocolError(status, f"input {self.name!r}: {message}")


def declare_all(
    inputs: Iterable[tuple[str, str, tuple[int, ...]]], limits: ProtocolLimits
) -> list[Declared]:
    """Check name, datatype and shape of all inputs; raises ``ProtocolError``."""
    every = [_declare(name, datatype, shape, limits) for name, datatype, shape in inputs]
    if len(every) > 1 and sum(of.elements for of in every) > limits.elements:
        raise _too_many(limits.elements)
    return every


def _declare(name: str, datatype: str, shape: tuple[int, ...], limits: ProtocolLimits) -> Declared:
    if len(shape) > limits.dimensions:
        raise ProtocolError(
            400, f"input {name!r} has {len(shape)} dimensions, of {limits.dimensions} at most"
        )
    elements = 1
    for size in shape:
        if size < 0:
            raise ProtocolError(400, f"input {name!r}: no size in a shape is negative: {shape}")
        elements *= size
    if elements > limits.elements:
        raise _too_many(limits.elements)
    return Declared(name, datatype, dtype_of(datatype), shape, elements)


def _too_many(most: int) -> ProtocolError:
    """The error for a request with more elements than ``most``."""
    return ProtocolError(413, f"a request may hold {most} elements; send smaller batches")


def too_long(most: int) -> ProtocolError:
    """The error for an element of BYTES with more bytes than ``most``."""
    return ProtocolError(413, f"an element of BYTES may have {most} bytes")
