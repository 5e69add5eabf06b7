"""Binary requests that differ in their data alone are parsed once.

A client that sends arrays of one shape sends the same JSON with each of them. What that JSON says
is kept, and so is the JSON of the answer; of the next request only the data are read.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import msgspec
import numpy as np

from runtimes.base import Array
from runtimes.serving.protocol.binary_elements import bytes_of
from runtimes.serving.protocol.datatypes import dtype_of
from runtimes.serving.protocol.messages import (
    NO_PARAMETERS,
    InferRequest,
    InferResponse,
    Tensor,
)

# A client that sends other JSON each time must not fill the memory.
_MOST_KEPT, _LARGEST_HEADER = 256, 4096
_LITTLE_ENDIAN = sys.byteorder == "little"  # as the protocol's bytes are


_Form = tuple[str, str, tuple[int, ...]]


class Prepared:
    """What all requests with the same JSON have in common."""

    __slots__ = ("_answer", "_inputs", "_request", "size")

    def __init__(self, request: InferRequest, header: int, size: int) -> None:
        self.size = size
        self._request = request
        self._inputs: list[tuple[str, str, tuple[int, ...], np.dtype, int, int]] = []
        start = header
        for tensor in request.inputs:
            dtype, count = dtype_of(tensor.datatype), math.prod(tensor.shape)
            self._inputs.append((tensor.name, tensor.datatype, tensor.shape, dtype, count, start))
            start += count * dtype.itemsize
        self._answer: tuple[str, str, list[_Form], bytes] | None = None

    def request(self, body: bytes) -> InferRequest:
        """The request whose data are in ``body``."""
        tensors = []
        for name, datatype, shape, dtype, count, start in self._inputs:
            data = np.frombuffer(body, dtype, count, start).reshape(shape)
            if not data.flags.aligned:
                data = data.copy()
            tensors.append(Tensor(name, datatype, shape, data))
        common = self._request
        return InferRequest(
            None, tuple(tensors), common.outputs, common.binary_outputs, common.parameters
        )

    def written(self, response: InferResponse) -> list[bytes | memoryview] | None:
        """The JSON and the data of an answer, if one like it was written before."""
        known = self._answer
        if known is None or response.parameters is not NO_PARAMETERS:
            return None
        model, version, forms, header = known
        outputs = response.outputs
        if response.version != version or response.model != model:
            return None
        if _forms(outputs) != forms:  # a model that was loaded anew may have other outputs
            return None
        return [header, *[bytes_of(tensor.datatype, tensor.data) for tensor in outputs]]

    def keep_answer(
        self,
        response: InferResponse,
        chunks: Sequence[bytes | memoryview],
        json_length: int | None,
    ) -> None:
        """Keep the JSON of an answer whose outputs all are binary and of fixed size."""
        if json_length is None or response.parameters is not NO_PARAMETERS:
            return
        if _fixed_bytes(response.outputs) == sum(map(len, chunks[1:])):
            forms = _forms(response.outputs)
            self._answer = response.model, response.version, forms, bytes(chunks[0])


class PreparedRequests:
    """The requests of a server that were parsed, by their JSON."""

    def __init__(self) -> None:
        self._known: dict[bytes, Prepared] = {}

    def find(self, body: bytes, header: int) -> Prepared | None:
        """What is known of a request whose first ``header`` bytes are JSON."""
        found = self._known.get(body[:header])
        return found if found is not None and found.size == len(body) else None

    def keep(self, request: InferRequest, body: bytes, header: int) -> Prepared | None:
        """Keep a request that was parsed, if it can come again with other data only."""
        if header > _LARGEST_HEADER or not _may_come_again(request):
            return None
        # Data in the JSON would be counted, too: then the sizes differ.
        if _fixed_bytes(request.inputs) != len(body) - header:
            return None
        if len(self._known) >= _MOST_KEPT:
            self._known.clear()
        bare = msgspec.structs.replace(request, inputs=tuple(map(_without_data, request.inputs)))
        prepared = self._known[body[:header]] = Prepared(bare, header, len(body))
        return prepared


def _forms(tensors: Sequence[Tensor]) -> list[_Form]:
    return [(tensor.name, tensor.datatype, tensor.shape) for tensor in tensors]


def _may_come_again(request: InferRequest) -> bool:
    """Whether another request may have the same JSON, and its data need not be looked at."""
    return (
        _LITTLE_ENDIAN
        and request.id is None
        and bool(request.inputs)
        and not any(tensor.parameters or tensor.datatype == "BOOL" for tensor in request.inputs)
        and not any(output.classification is not None for output in request.outputs or ())
    )


def _fixed_bytes(tensors: Sequence[Tensor]) -> int:
    """Bytes of all tensors; -1 where one holds elements of any length."""
    if any(tensor.data.dtype.hasobject for tensor in tensors):
        return -1
    return sum(tensor.data.nbytes for tensor in tensors)


_NOTHING: Array = np.empty(0)


def _without_data(tensor: Tensor) -> Tensor:
    return msgspec.structs.replace(tensor, data=_NOTHING)
