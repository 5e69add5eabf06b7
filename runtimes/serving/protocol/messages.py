"""Requests and answers, as the rest of the server sees them.

They are msgspec structs, not dataclasses: five are made for each request, and a frozen dataclass
takes five times as long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import msgspec
import numpy as np

Parameter: TypeAlias = bool | int | float | str
Parameters: TypeAlias = Mapping[str, Parameter]

NO_PARAMETERS: Parameters = MappingProxyType({})


class Tensor(msgspec.Struct, frozen=True, eq=False):
    """An input or an output.

    Attributes:
        name: Its name in the model.
        datatype: As the protocol calls it: FP32, BYTES, and so on.
        shape: The shape of ``data``.
        data: The elements: BF16 as ``ml_dtypes.bfloat16``, BYTES as ``bytes`` objects in an array
            of dtype ``object``. An input may be a read-only view of the request's body.
        parameters: What the client sent with it, but for what this protocol itself reads.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: np.ndarray
    parameters: Parameters = NO_PARAMETERS


class RequestedOutput(msgspec.Struct, frozen=True):
    """An output that the client wants.

    Attributes:
        name: Its name in the model.
        binary: Whether its bytes follow the JSON, rather than being in it.
        classification: So many best classes as strings, in place of the values; None for values.
        parameters: What else the client sent with it.
    """

    name: str
    binary: bool = False
    classification: int | None = None
    parameters: Parameters = NO_PARAMETERS


class InferRequest(msgspec.Struct, frozen=True, eq=False):
    """What a client asks.

    Attributes:
        id: The client's name for the request, which the answer repeats.
        inputs: The tensors to run.
        outputs: The outputs that are wanted; None for all.
        binary_outputs: Whether outputs that ``outputs`` does not name are binary.
        parameters: What else the client sent.
    """

    id: str | None
    inputs: tuple[Tensor, ...]
    outputs: tuple[RequestedOutput, ...] | None = None
    binary_outputs: bool = False
    parameters: Parameters = NO_PARAMETERS


class InferResponse(msgspec.Struct, frozen=True, eq=False):
    """What a client is answered.

    Attributes:
        model: The name of the model.
        version: The version that answered.
        id: As in the request.
        outputs: The outputs that the request wants, in its order.
        parameters: What else is told of the answer.
        labels: By output, the names of its classes, for those that the request wants classified.
    """

    model: str
    version: str
    id: str | None
    outputs: tuple[Tensor, ...]
    parameters: Parameters = NO_PARAMETERS
    labels: Mapping[str, Sequence[str]] = MappingProxyType({})
