"""Answers, read by an independent, slow reader."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from oip_reference import Sent, answer_tensors, element_bytes
from oip_strategies import tensors

pytest.importorskip("orjson")

from runtimes.serving.protocol.datatypes import datatype_of, dtype_of
from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.protocol.messages import (
    InferRequest,
    InferResponse,
    RequestedOutput,
    Tensor,
)
from runtimes.serving.protocol.write import write_error, write_infer

pytestmark = pytest.mark.fast
JSON, BINARY = InferRequest("7", ()), InferRequest("7", (), binary_outputs=True)


def array_of(sent: Sent) -> np.ndarray:
    if sent.datatype == "BYTES":
        array = np.empty(len(sent.values), np.object_)
        array[:] = sent.values
        return array.reshape(sent.shape)
    data = b"".join(element_bytes(sent.datatype, value) for value in sent.values)
    return np.frombuffer(data, dtype_of(sent.datatype)).reshape(sent.shape)


def tensor_of(array: np.ndarray, name: str = "y") -> Tensor:
    return Tensor(name, datatype_of(array.dtype), array.shape, array)


def written(
    *outputs: Tensor, request: InferRequest = JSON, **more: Any
) -> tuple[dict[str, Any], dict[str, Sent]]:
    response = InferResponse("m", "3", request.id, outputs, **more)
    chunks, length = write_infer(response, request)
    return answer_tensors(b"".join(chunks), length)


@given(tensors(binary=True))
def test_bytes_arrive_bit_by_bit(sent: Sent) -> None:
    _, found = written(tensor_of(array_of(sent)), request=BINARY)
    assert found["y"] == Sent("y", sent.datatype, sent.shape, sent.values)


@given(tensors(binary=False))
def test_json_arrives_exactly(sent: Sent) -> None:
    _, found = written(tensor_of(array_of(sent)))
    back = found["y"]
    assert (back.datatype, back.shape, back.binary) == (sent.datatype, sent.shape, False)
    for value, expected in zip(back.values, sent.values, strict=True):
        assert element_bytes(sent.datatype, value) == element_bytes(sent.datatype, expected)


def test_each_output_is_written_as_it_was_asked_for() -> None:
    a, b = tensor_of(np.ones(3000, np.float32), "a"), tensor_of(np.ones(2, np.int8), "b")
    outputs = (RequestedOutput("a", binary=True), RequestedOutput("b"))
    request = InferRequest("7", (), outputs)
    document, found = written(a, b, request=request, parameters={"fp32": True})
    assert found["a"].binary
    assert not found["b"].binary
    assert found["b"].values == [1, 1]
    assert {key: document[key] for key in ("model_name", "model_version", "id", "parameters")} == {
        "model_name": "m",
        "model_version": "3",
        "id": "7",
        "parameters": {"fp32": True},
    }


def test_what_is_not_there_is_not_written() -> None:
    chunks, length = write_infer(InferResponse("m", "", None, ()), InferRequest(None, ()))
    assert length is None
    assert json.loads(b"".join(chunks)) == {"model_name": "m", "outputs": []}


def test_large_outputs_are_not_copied() -> None:
    array = np.zeros((100, 100), np.float32)
    chunks, _ = write_infer(InferResponse("m", "1", None, (tensor_of(array),)), BINARY)
    assert np.shares_memory(np.frombuffer(chunks[1], np.uint8), array)


@pytest.mark.parametrize("request_", [JSON, BINARY], ids=["json", "binary"])
@pytest.mark.parametrize("rows", [4, 4000])
def test_arrays_in_any_order_are_written_by_rows(rows: int, request_: InferRequest) -> None:
    array = np.arange(rows * 3, dtype=np.float32).reshape(3, rows)
    _, found = written(tensor_of(array.T), request=request_)
    assert found["y"].values == array.T.ravel().tolist()
    assert found["y"].shape == (rows, 3)


@pytest.mark.parametrize("dtype", [object, "U3"])
def test_a_models_strings_are_written_as_utf_8(dtype: Any) -> None:
    array = np.array(["a", "né"], dtype)
    for request in (JSON, BINARY):
        _, found = written(tensor_of(array), request=request)
        assert found["y"].values == [b"a", "né".encode()]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_nan_is_null_and_infinity_is_refused_in_json(dtype: str) -> None:
    _, found = written(tensor_of(np.array([math.nan, 1], dtype)))
    assert found["y"].values == [None, 1]
    infinite = tensor_of(np.array([math.inf], dtype))
    with pytest.raises(ProtocolError, match="ask for it as binary data") as refused:
        written(infinite)
    assert refused.value.status == 406
    assert written(infinite, request=BINARY)[1]["y"].values == [math.inf]


def test_bytes_that_are_no_text_are_refused_in_json() -> None:
    array = np.array([b"\xff"], object)
    with pytest.raises(ProtocolError, match="bytes that are not text"):
        written(tensor_of(array))
    assert written(tensor_of(array), request=BINARY)[1]["y"].values == [b"\xff"]


def test_classes_are_the_best_values_with_their_labels() -> None:
    array = np.array([[0.5, 2.5, 1.0], [3.0, 3.0, math.nan]], np.float32)
    request = InferRequest(None, (), (RequestedOutput("y", False, 2),))
    _, found = written(tensor_of(array), request=request, labels={"y": ("no", "yes")})
    assert found["y"].shape == (2, 2)
    assert found["y"].values == [b"2.5:1:yes", b"1.0:2", b"3.0:0:no", b"3.0:1:yes"]
    _, found = written(tensor_of(np.array([1, 10, 5, 4])), request=request)
    assert found["y"].values == [b"10:1", b"5:2"]
    assert found["y"].shape == (2,)


@pytest.mark.parametrize("array", [np.array([b"a"], object), np.array([True]), np.ones((2, 1))])
def test_classes_that_are_not_there_are_refused(array: np.ndarray) -> None:
    request = InferRequest(None, (), (RequestedOutput("y", False, 2),))
    with pytest.raises(ProtocolError, match="classes"):
        written(tensor_of(array), request=request)


def test_a_type_without_a_name_is_the_models_fault() -> None:
    with pytest.raises(ProtocolError, match="no datatype for complex64") as refused:
        datatype_of(np.dtype("complex64"))
    assert refused.value.status == 500


def test_an_error_is_json() -> None:
    assert json.loads(write_error(ProtocolError(400, 'a "quote"'))) == {"error": 'a "quote"'}
