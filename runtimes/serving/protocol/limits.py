"""How large a request may be; each limit is checked before what it limits takes memory."""

from __future__ import annotations

from dataclasses import dataclass

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class ProtocolLimits:
    """The limits of one request.

    Attributes:
        body_bytes: The whole body.
        tensors: Inputs, and likewise requested outputs.
        elements: The elements of all inputs together.
        json_values: Values in the JSON; each takes more memory there than in binary data.
        string_bytes: One element of a BYTES tensor.
        dimensions: The rank of a tensor, and the depth of nested lists.
        parameters: Parameters of the request, and of each tensor.
    """

    body_bytes: int = 64 * _MIB
    tensors: int = 256
    elements: int = 16 * _MIB
    json_values: int = 2 * _MIB
    string_bytes: int = 16 * _MIB
    dimensions: int = 16
    parameters: int = 64
