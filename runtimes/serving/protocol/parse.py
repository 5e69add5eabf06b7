"""The body of an inference request, to what it asks.

JSON is read once, by orjson, into plain values; msgspec then says what is wrong with their form.
Nothing of the size that a client states is made before that size has been compared with the
limits and with the bytes that are there.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import orjson

from runtimes.errors import first_line
from runtimes.serving.protocol.binary_elements import array_from_bytes
from runtimes.serving.protocol.chained import answer_as_request
from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.protocol.json_elements import array_from_json
from runtimes.serving.protocol.limits import ProtocolLimits
from runtimes.serving.protocol.messages import (
    NO_PARAMETERS,
    InferRequest,
    Parameter,
    RequestedOutput,
    Tensor,
)
from runtimes.serving.protocol.requested import (
    check_names,
    refuse_shared_memory,
    requested_output,
)
from runtimes.serving.protocol.shapes import Declared, declare_all

_Given = dict[str, bool | int | float | str | None]
_BEFORE_VALUE = b",[{"


class _Input(msgspec.Struct):
    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: _Given | None = None
    data: Any = msgspec.UNSET


class _Output(msgspec.Struct):
    name: str
    parameters: _Given | None = None


class _Request(msgspec.Struct):
    inputs: list[_Input]
    outputs: list[_Output] | None = None
    id: str | None = None
    parameters: _Given | None = None


def parse_infer(
    body: bytes | memoryview, json_length: int | None, limits: ProtocolLimits
) -> InferRequest:
    """Read the body of ``POST /v2/models/M/infer``.

    Args:
        body: All of it.
        json_length: The header ``Inference-Header-Content-Length``: how much of it is JSON, before
            the bytes of tensors; None where the header is missing.
        limits: How large it may be.

    Raises:
        ProtocolError: What is wrong with it.
    """
    if len(body) > limits.body_bytes:
        raise ProtocolError(413, f"a request may have {limits.body_bytes} bytes, not {len(body)}")
    if json_length is None:
        json_length = len(body)
    elif not 0 <= json_length <= len(body):
        raise ProtocolError(
            400, f"Inference-Header-Content-Length is {json_length} of {len(body)} bytes"
        )
    given = _read(memoryview(body)[:json_length], limits)
    parameters = _parameters(given.parameters, limits)
    binary = parameters.pop("binary_data_output", False) is True
    outputs = _outputs(given.outputs, binary, limits)
    inputs = _inputs(given.inputs, memoryview(body)[json_length:], limits)
    return InferRequest(given.id, inputs, outputs, binary, parameters or NO_PARAMETERS)


def _read(header: memoryview, limits: ProtocolLimits) -> _Request:
    # Two bytes of JSON are the least that a value takes: only long ones have to be looked at.
    if len(header) > 2 * limits.json_values and _values(header) > limits.json_values:
        raise ProtocolError(
            413,
            f"a request may hold {limits.json_values} values in JSON; send tensors as binary data",
        )
    try:
        document = orjson.loads(header)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(400, f"the body is not JSON: {first_line(error)}") from None
    try:
        return msgspec.convert(answer_as_request(document) or document, _Request)
    except msgspec.ValidationError as error:
        raise ProtocolError(400, f"not an inference request: {first_line(error)}") from None


def _values(header: memoryview) -> int:
    """How many values there are at most, without reading them: the signs outside of strings."""
    plain = bytes(header).replace(b"\\\\", b"").replace(b'\\"', b"")
    signs = np.frombuffer(plain, np.uint8)
    outside = ~np.logical_xor.accumulate(signs == ord('"'))
    return sum(int(np.count_nonzero((signs == sign) & outside)) for sign in _BEFORE_VALUE)


def _parameters(given: _Given | None, limits: ProtocolLimits) -> dict[str, Parameter]:
    """The parameters of one place; the caller takes those out that it reads."""
    if not given:
        return {}
    if len(given) > limits.parameters:
        raise ProtocolError(413, f"more than {limits.parameters} parameters in one place")
    if None in given.values():
        return {key: value for key, value in given.items() if value is not None}
    return given  # type: ignore[return-value]


def _outputs(
    given: list[_Output] | None, binary: bool, limits: ProtocolLimits
) -> tuple[RequestedOutput, ...] | None:
    if not given:
        return None
    check_names("outputs", given, limits)
    return tuple([_output(each, binary, limits) for each in given])


def _output(given: _Output, binary: bool, limits: ProtocolLimits) -> RequestedOutput:
    parameters = _parameters(given.parameters, limits)
    if not parameters:
        return RequestedOutput(given.name, binary)
    refuse_shared_memory(given.name, parameters)
    return requested_output(given.name, parameters.pop("binary_data", binary) is True, parameters)


def _inputs(given: list[_Input], binary: memoryview, limits: ProtocolLimits) -> tuple[Tensor, ...]:
    check_names("inputs", given, limits)
    every = declare_all(((each.name, each.datatype, each.shape) for each in given), limits)
    found = []
    for of, each in zip(every, given, strict=True):
        tensor, binary = _input(of, each, binary, limits)
        found.append(tensor)
    if binary:
        raise ProtocolError(400, f"{len(binary)} bytes are left over after the last input's")
    return tuple(found)


def _input(
    of: Declared, given: _Input, binary: memoryview, limits: ProtocolLimits
) -> tuple[Tensor, memoryview]:
    """An input, and the bytes that are left after its own."""
    parameters = _parameters(given.parameters, limits)
    size = parameters.pop("binary_data_size", None)
    if size is None:
        refuse_shared_memory(of.name, parameters)
        if given.data is msgspec.UNSET:
            raise of.error('it has neither "data" nor binary data')
        array = array_from_json(of, given.data, limits)
    else:
        if type(size) is not int or not 0 <= size <= len(binary):
            raise of.error(f'"binary_data_size" is {size}, {len(binary)} bytes are there')
        if given.data is not msgspec.UNSET:
            raise of.error('it has both "data" and binary data')
        array = array_from_bytes(of, binary[:size], limits)
        binary = binary[size:]
    return Tensor(of.name, of.datatype, of.shape, array, parameters or NO_PARAMETERS), binary
