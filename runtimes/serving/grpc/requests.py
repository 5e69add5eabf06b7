"""Inference requests and answers, between gRPC's messages and the protocol's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from runtimes.serving.grpc.messages import MESSAGE_CLASSES
from runtimes.serving.protocol.binary_elements import array_from_bytes, bytes_of
from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.protocol.json_elements import array_from_json, check_count, string_array
from runtimes.serving.protocol.limits import ProtocolLimits
from runtimes.serving.protocol.messages import (
    NO_PARAMETERS,
    InferRequest,
    InferResponse,
    Parameter,
    RequestedOutput,
    Tensor,
)
from runtimes.serving.protocol.requested import check_names, requested_output
from runtimes.serving.protocol.shapes import Declared, declare_all, too_long
from runtimes.serving.protocol.write import final_output

_RESPONSE = MESSAGE_CLASSES["ModelInferResponse"]
_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def read_request(message: Any, limits: ProtocolLimits) -> InferRequest:
    """What a ``ModelInferRequest`` asks; raises ``ProtocolError``."""
    check_names("inputs", message.inputs, limits)
    every = declare_all(
        ((each.name, each.datatype, tuple(each.shape)) for each in message.inputs), limits
    )
    raw = message.raw_input_contents
    if raw and len(raw) != len(every):
        raise ProtocolError(
            400, f"{len(raw)} raw_input_contents are given for {len(every)} inputs; send one each"
        )
    inputs = tuple(
        [
            _input(of, each, raw[number] if raw else None, limits)
            for number, (of, each) in enumerate(zip(every, message.inputs, strict=True))
        ]
    )
    outputs = _outputs(message, limits) if message.outputs else None
    parameters = _parameters(message.parameters, limits)
    return InferRequest(message.id or None, inputs, outputs, True, parameters or NO_PARAMETERS)


def _outputs(message: Any, limits: ProtocolLimits) -> tuple[RequestedOutput, ...]:
    check_names("outputs", message.outputs, limits)
    return tuple(
        requested_output(each.name, True, _parameters(each.parameters, limits))
        for each in message.outputs
    )


def _input(of: Declared, given: Any, raw: bytes | None, limits: ProtocolLimits) -> Tensor:
    parameters = _parameters(given.parameters, limits) or NO_PARAMETERS
    if raw is None:
        array = _typed(of, given.contents, limits)
    elif given.HasField("contents"):
        raise of.error("it has both contents and raw_input_contents")
    else:
        array = array_from_bytes(of, raw, limits)
    return Tensor(of.name, of.datatype, of.shape, array, parameters)


def _typed(of: Declared, contents: Any, limits: ProtocolLimits) -> np.ndarray:
    """The array of an input whose elements are in the field for its datatype."""
    field = _CONTENTS.get(of.datatype)
    if field is None:
        raise of.error(f"{of.datatype} has no contents of its own; send raw_input_contents")
    values = getattr(contents, field)
    check_count(of, len(values))
    if of.datatype != "BYTES":
        return array_from_json(of, list(values), limits)
    if any(len(value) > limits.string_bytes for value in values):
        raise too_long(limits.string_bytes)
    return string_array(list(values)).reshape(of.shape)


def _parameters(given: Any, limits: ProtocolLimits) -> dict[str, Parameter]:
    if not given:
        return {}
    if len(given) > limits.parameters:
        raise ProtocolError(413, f"more than {limits.parameters} parameters in one place")
    found = {}
    for name, choice in given.items():
        field = choice.WhichOneof("parameter_choice")
        if field is not None:
            found[name] = getattr(choice, field)
    return found


def write_response(response: InferResponse, request: InferRequest) -> Any:
    """The ``ModelInferResponse`` for an answer; its tensors are raw."""
    message = _RESPONSE(
        model_name=response.model, model_version=response.version, id=response.id or ""
    )
    _add_parameters(message.parameters, response.parameters)
    wanted = {each.name: each for each in request.outputs or ()}
    for output in response.outputs:
        tensor = final_output(response, output, wanted.get(output.name))
        added = message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        _add_parameters(added.parameters, tensor.parameters)
        message.raw_output_contents.append(bytes(bytes_of(tensor.datatype, tensor.data)))
    return message


def _add_parameters(to: Any, parameters: Mapping[str, Parameter]) -> None:
    for name, value in parameters.items():
        if isinstance(value, bool):
            to[name].bool_param = value
        elif isinstance(value, int):
            to[name].int64_param = value
        elif isinstance(value, float):
            to[name].double_param = value
        else:
            to[name].string_param = value
