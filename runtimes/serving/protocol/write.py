"""An answer to the bytes of its body: JSON alone, or JSON and the bytes of tensors after it."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from runtimes.serving.protocol.binary_elements import bytes_of, encoded
from runtimes.serving.protocol.classification import classified
from runtimes.serving.protocol.datatypes import FLOATS
from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.protocol.messages import (
    InferRequest,
    InferResponse,
    RequestedOutput,
    Tensor,
)

_Chunks = list[bytes | memoryview]


def write_infer(response: InferResponse, request: InferRequest) -> tuple[_Chunks, int | None]:
    """Write the body of an answer.

    Args:
        response: What the model gave.
        request: What it answers: which outputs are binary, and which are classified.

    Returns:
        The parts of the body, and the header ``Inference-Header-Content-Length``, which is None for
        a body that is JSON alone. The bytes of outputs are views: they must not change before
        they are sent.

    Raises:
        ProtocolError: JSON cannot hold an output that the request does not want as binary data.
    """
    wanted = {each.name: each for each in request.outputs or ()}
    described: list[dict[str, Any]] = []
    chunks: _Chunks = [b""]
    for output in response.outputs:
        asked = wanted.get(output.name)
        tensor = final_output(response, output, asked)
        if asked.binary if asked is not None else request.binary_outputs:
            chunks.append(bytes_of(tensor.datatype, tensor.data))
            described.append(_described(tensor, binary_data_size=len(chunks[-1])))
        else:
            described.append({**_described(tensor), "data": _json_data(tensor)})
    chunks[0] = _json(response, described)
    return chunks, len(chunks[0]) if len(chunks) > 1 else None


def final_output(response: InferResponse, output: Tensor, asked: RequestedOutput | None) -> Tensor:
    """An output as the client wants it: its values, or its best classes."""
    if asked is None or asked.classification is None:
        return output
    return classified(output, asked.classification, response.labels.get(output.name, ()))


def write_error(error: ProtocolError) -> bytes:
    """The body of an answer that reports an error."""
    return orjson.dumps({"error": error.message})


def _described(tensor: Tensor, **parameters: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": tensor.shape,
    }
    if tensor.parameters or parameters:
        found["parameters"] = {**tensor.parameters, **parameters}
    return found


def _json_data(tensor: Tensor) -> np.ndarray | list[str]:
    """What orjson writes as a flat list."""
    if tensor.datatype == "BYTES":
        return _texts(tensor)
    data = tensor.data
    if tensor.datatype == "BF16":
        data = data.astype(np.float32)
    return np.ascontiguousarray(data).reshape(-1)


def _texts(tensor: Tensor) -> list[str]:
    try:
        return [each.decode() for each in encoded(tensor.data)]
    except UnicodeDecodeError:
        raise _needs_binary(tensor, "bytes that are not text") from None


def _json(response: InferResponse, outputs: list[dict[str, Any]]) -> bytes:
    document: dict[str, Any] = {"model_name": response.model}
    if response.version:
        document["model_version"] = response.version
    if response.id is not None:
        document["id"] = response.id
    if response.parameters:
        document["parameters"] = dict(response.parameters)
    document["outputs"] = outputs
    text = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    # orjson writes null for NaN, which this protocol reads as NaN again, but also for infinity.
    if b"null" in text:
        _refuse_infinities(response.outputs, outputs)
    return text


def _refuse_infinities(outputs: tuple[Tensor, ...], described: list[dict[str, Any]]) -> None:
    for tensor, document in zip(outputs, described, strict=True):
        numbers = document["datatype"] in FLOATS and "data" in document
        if numbers and np.isinf(tensor.data).any():
            raise _needs_binary(tensor, "infinity")


def _needs_binary(tensor: Tensor, what: str) -> ProtocolError:
    return ProtocolError(
        406,
        f"output {tensor.name!r} holds {what}, which JSON has no form for; ask for it as binary "
        'data (parameter "binary_data": true)',
    )
