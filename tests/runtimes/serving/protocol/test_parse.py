"""Requests against an independent, slow writer: whole, cut, with something after them, damaged."""

from __future__ import annotations

import json
import math
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oip_reference import DATATYPES, Sent, element_bytes, request_body
from oip_strategies import tensors

pytest.importorskip("orjson")

from runtimes.serving.protocol.binary_elements import bytes_of
from runtimes.serving.protocol.datatypes import datatype_of, dtype_of
from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.protocol.limits import ProtocolLimits
from runtimes.serving.protocol.messages import InferRequest, RequestedOutput
from runtimes.serving.protocol.parse import parse_infer

pytestmark = pytest.mark.fast
LIMITS = ProtocolLimits()
SMALL = ProtocolLimits(
    body_bytes=4000, tensors=2, elements=100, json_values=50, string_bytes=8, dimensions=3,
    parameters=2,
)  # fmt: skip


def one(document: dict[str, Any], limits: ProtocolLimits = LIMITS, tail: bytes = b"") -> Any:
    """Parse a request of one input, which is ``document`` with what every input has."""
    whole = {"name": "x", "datatype": "FP32", "shape": [1], **document}
    header = json.dumps({"inputs": [whole]}).encode()
    return parse_infer(header + tail, len(header), limits)


def assert_same(request: InferRequest, sent: list[Sent]) -> None:
    assert [each.name for each in request.inputs] == [each.name for each in sent]
    for tensor, each in zip(request.inputs, sent, strict=True):
        expected = b"".join(element_bytes(each.datatype, value) for value in each.values)
        assert (tensor.datatype, tensor.shape) == (each.datatype, each.shape)
        assert tensor.data.shape == each.shape
        assert tensor.data.dtype == dtype_of(each.datatype)
        assert tensor.data.flags.aligned
        assert tensor.data.flags.c_contiguous
        assert bytes(bytes_of(tensor.datatype, tensor.data)) == expected


@given(tensors(name="first"), tensors(name="second"), st.booleans())
def test_what_is_sent_arrives_bit_by_bit(first: Sent, second: Sent, nest: bool) -> None:
    body, length = request_body([first, second], nest=nest)
    assert_same(parse_infer(body, length, LIMITS), [first, second])


@pytest.mark.parametrize("datatype", sorted(set(DATATYPES) - {"BYTES"}))
def test_the_bytes_are_a_view_where_they_are_aligned(datatype: str) -> None:
    itemsize = dtype_of(datatype).itemsize
    document = {"name": "x", "datatype": datatype, "shape": [2]}
    header = json.dumps(
        {"inputs": [{**document, "parameters": {"binary_data_size": 2 * itemsize}}]}
    )
    for padding in range(8):
        text = (header + " " * padding).encode()
        body = text + bytes(2 * itemsize)
        array = parse_infer(body, len(text), LIMITS).inputs[0].data
        whole = np.frombuffer(body, np.uint8)
        address = whole.ctypes.data + len(text)
        assert np.shares_memory(array, whole) == (address % itemsize == 0)
        assert array.tolist() == [0, 0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.0])
@pytest.mark.parametrize("datatype", ["FP16", "BF16", "FP32", "FP64"])
def test_every_float_can_be_sent_as_bytes(datatype: str, value: float) -> None:
    body, length = request_body([Sent("x", datatype, (1,), [value])])
    found = float(parse_infer(body, length, LIMITS).inputs[0].data[0])
    assert struct.pack("<d", found)[-2:] == struct.pack("<d", value)[-2:]


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "FP32", "FP64"])
def test_null_is_nan(datatype: str) -> None:
    found = one({"datatype": datatype, "shape": [2, 1], "data": [[None], [1.5]]})
    assert np.isnan(found.inputs[0].data[0, 0])
    assert float(found.inputs[0].data[1, 0]) == 1.5


def test_ids_outputs_and_parameters_are_read() -> None:
    outputs = [
        {"name": "a", "parameters": {"binary_data": False, "classification": 3}},
        {"name": "b", "parameters": {"left": "as it is", "none": None}},
    ]
    sent = Sent("x", "INT8", (1,), [-1])
    body, length = request_body(
        [sent],
        id="42",
        outputs=outputs,
        parameters={"binary_data_output": True, "priority": 2, "share": 0.5},
    )
    request = parse_infer(body, length, LIMITS)
    assert request.id == "42"
    assert request.binary_outputs
    assert request.parameters == {"priority": 2, "share": 0.5}
    assert request.inputs[0].parameters == {}
    assert request.outputs == (
        RequestedOutput("a", False, 3),
        RequestedOutput("b", True, None, {"left": "as it is"}),
    )
    body, length = request_body([sent], outputs=[])
    request = parse_infer(body, length, LIMITS)
    assert request.outputs is None
    assert request.id is None
    assert not request.binary_outputs


def test_a_request_cut_anywhere_is_refused() -> None:
    sent = [
        Sent("x", "FP32", (2, 1), [1.0, 2.0]),
        Sent("y", "BYTES", (2,), [b"one", b""]),
        Sent("z", "INT16", (1,), [7], binary=False),
    ]
    body, length = request_body(sent)
    assert_same(parse_infer(body, length, LIMITS), sent)
    for cut in range(len(body)):
        with pytest.raises(ProtocolError) as refused:
            parse_infer(body[:cut], length, LIMITS)
        assert refused.value.status == 400
    for wrong in range(len(body) + 1):
        if wrong != length:
            with pytest.raises(ProtocolError):
                parse_infer(body, wrong, LIMITS)
    for more in (b"\0", b"{}", body):
        with pytest.raises(ProtocolError, match="left over"):
            parse_infer(body + more, length, LIMITS)
    plain, none = request_body(sent[2:])
    assert none is None
    for cut in range(len(plain)):
        with pytest.raises(ProtocolError):
            parse_infer(plain[:cut], None, LIMITS)
    with pytest.raises(ProtocolError, match="not JSON"):
        parse_infer(plain + b"1", None, LIMITS)


@given(st.data())
def test_damage_is_refused_or_harmless(data: st.DataObject) -> None:
    """Whatever bytes come, there is a request or a ``ProtocolError`` that says what is wrong."""
    sent = [data.draw(tensors(name="x")), data.draw(tensors(name="y"))]
    body, length = request_body(sent, nest=data.draw(st.booleans()), id="1")
    broken = bytearray(body)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(broken) - 1))
        piece = data.draw(st.sampled_from([b"", b"[", b"]", b"-", b"9" * 30, b"null", b"\xff"]))
        broken[place : place + data.draw(st.integers(0, 4))] = piece
        broken = broken or bytearray(b" ")
    claimed = data.draw(st.none() | st.just(length) | st.integers(-2, len(broken) + 2))
    _refused_or_read(bytes(broken), claimed)


@given(
    st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace"))
)
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_infer(noise, None, LIMITS)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.data())
def test_fields_of_any_type_are_refused_or_read(data: st.DataObject) -> None:
    document: dict[str, Any] = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1.0]}]
    }
    place = data.draw(st.sampled_from(["inputs", "outputs", "id", "parameters", "name", "datatype",
                                       "shape", "data", "binary"]))  # fmt: skip
    value = data.draw(_JSON)
    if place == "binary":
        document["inputs"][0]["parameters"] = {"binary_data_size": value}
    elif place in document["inputs"][0]:
        document["inputs"][0][place] = value
    else:
        document[place] = value
    _refused_or_read(json.dumps(document).encode(), None)


def _refused_or_read(body: bytes, length: int | None) -> None:
    refused: list[ProtocolError] = []
    try:
        inputs = parse_infer(body, length, LIMITS).inputs
    except ProtocolError as error:
        refused.append(error)
        inputs = ()
    assert all(error.status in {400, 413} and error.message for error in refused)
    for tensor in inputs:
        assert tensor.data.shape == tensor.shape
        assert datatype_of(tensor.data.dtype) == tensor.datatype


HOSTILE = {
    "a negative size": ({"shape": [-1], "data": [1]}, "negative"),
    "a product that overflows": ({"shape": [2**32, 2**32], "data": [1]}, "may hold"),
    "a product that overflows to zero": ({"shape": [2**63, 2], "data": []}, "may hold"),
    "a size beyond 64 bits": ({"shape": [10**30], "data": [1]}, "may hold|inference request"),
    "a shape of fractions": ({"shape": [1.5], "data": [1]}, "inference request"),
    "an unknown datatype": ({"datatype": "FP8", "data": [1]}, "no datatype 'FP8'; there are BOOL"),
    "a long datatype": ({"datatype": "X" * 10**5, "data": [1]}, "no datatype"),
    "too few elements": ({"shape": [2], "data": [1]}, r"1 elements are given, \[2\] needs 2"),
    "too many elements": ({"data": [1, 2]}, "2 elements are given"),
    "ragged lists": ({"shape": [2, 2], "data": [[1, 2, 3], [4]]}, "do not have the shape"),
    "lists beyond the shape": ({"shape": [1], "data": [[1]]}, "not every element is FP32"),
    "a list among numbers": ({"shape": [2], "data": [1, [2]]}, "not every element is FP32"),
    "text among numbers": ({"shape": [2], "data": [1, "2"]}, "not every element is FP32"),
    "text in place of lists": ({"shape": [1, 2], "data": ["ab"]}, "elements are given"),
    "data that are no list": ({"data": 1}, "has to be a list"),
    "neither data nor bytes": ({}, "neither"),
    "a number too large for a float": ({"data": [1e39]}, "not every element is FP32"),
    "an integer too large for a float": ({"data": [10**40]}, "not every element|not JSON"),
    "a number too large for INT8": ({"datatype": "INT8", "data": [128]}, "not every element is"),
    "a negative UINT8": ({"datatype": "UINT8", "data": [-1]}, "not every element is UINT8"),
    "a fraction for INT32": ({"datatype": "INT32", "data": [1.5]}, "not every element is INT32"),
    "null for INT32": ({"datatype": "INT32", "data": [None]}, "not every element is INT32"),
    "a number for BOOL": ({"datatype": "BOOL", "data": [1]}, "true or false"),
    "a number for BYTES": ({"datatype": "BYTES", "data": [1]}, "are strings"),
    "shared memory": ({"parameters": {"shared_memory_region": "r"}}, "no shared memory"),
    "more bytes than there are": ({"parameters": {"binary_data_size": 4}}, "0 bytes are there"),
    "a negative number of bytes": ({"parameters": {"binary_data_size": -4}}, "is -4"),
    "a number of bytes that is none": ({"parameters": {"binary_data_size": "4"}}, "is 4"),
    "a parameter that is a list": ({"parameters": {"a": []}, "data": [1]}, "inference request"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_inputs_are_refused(name: str) -> None:
    document, message = HOSTILE[name]
    with pytest.raises(ProtocolError, match=message) as refused:
        one(document)
    assert len(refused.value.message) < 500


@pytest.mark.parametrize(
    ("document", "tail", "message"),
    [
        ({"shape": [2]}, bytes(4), r"4 bytes are given, FP32 \[2\] has 8"),
        ({"datatype": "BOOL"}, b"\x02", "bytes of 0 or 1"),
        ({"datatype": "BYTES"}, b"\xff\xff\xff\xff", "may have"),
        ({"datatype": "BYTES"}, b"\x02\0\0\0a", "end before"),
        ({"datatype": "BYTES"}, b"\x01\0\0\0ab", "left over"),
        ({"datatype": "BYTES", "shape": [10**6]}, bytes(4), "end before"),
        ({"data": [1.0]}, bytes(4), 'both "data" and binary'),
    ],
)
def test_bytes_that_do_not_fit_are_refused(
    document: dict[str, Any], tail: bytes, message: str
) -> None:
    with pytest.raises(ProtocolError, match=message):
        one({**document, "parameters": {"binary_data_size": len(tail)}}, tail=tail)


def test_two_inputs_of_one_name_are_refused() -> None:
    twice = [Sent("x", "INT8", (1,), [1]), Sent("x", "INT8", (1,), [2])]
    with pytest.raises(ProtocolError, match="two inputs have the same name"):
        parse_infer(*request_body(twice), LIMITS)


@pytest.mark.parametrize("classes", [0, -1, 1.5, "3", True])
def test_a_classification_is_a_number_of_classes(classes: Any) -> None:
    outputs = [{"name": "y", "parameters": {"classification": classes}}]
    body, length = request_body([Sent("x", "INT8", (1,), [1])], outputs=outputs)
    with pytest.raises(ProtocolError, match="number of classes"):
        parse_infer(body, length, LIMITS)


ABOVE_LIMITS = {
    "body": (request_body([Sent("x", "INT8", (1,), [1], binary=False)], id="9" * 4000), 413),
    "inputs": (request_body([Sent(f"x{n}", "INT8", (1,), [1]) for n in range(3)]), 413),
    "outputs": (
        request_body([Sent("x", "INT8", (1,), [1])], outputs=[{"name": str(n)} for n in range(3)]),
        413,
    ),
    "elements": (request_body([Sent("x", "INT8", (101,), [1] * 101)]), 413),
    "elements of all": (
        request_body([Sent(name, "INT8", (60,), [1] * 60) for name in ("x", "y")]),
        413,
    ),
    "values": (request_body([Sent("x", "INT8", (60,), [1] * 60, binary=False)]), 413),
    "string": (request_body([Sent("x", "BYTES", (1,), [b"123456789"])]), 413),
    "string in JSON": (request_body([Sent("x", "BYTES", (1,), [b"123456789"], binary=False)]), 413),
    "dimensions": (request_body([Sent("x", "INT8", (1, 1, 1, 1), [1])]), 400),
    "parameters": (
        request_body([Sent("x", "INT8", (1,), [1])], parameters={"a": 1, "b": 2, "c": 3}),
        413,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ABOVE_LIMITS)
def test_limits_hold(name: str) -> None:
    (body, length), status = ABOVE_LIMITS[name]
    parse_infer(body, length, LIMITS)
    with pytest.raises(ProtocolError) as refused:
        parse_infer(body, length, SMALL)
    assert refused.value.status == status


def test_commas_in_strings_are_no_values() -> None:
    text = b',"[{\\' * 10
    body, length = request_body([Sent("x", "BYTES", (1,), [text], binary=False)])
    limits = ProtocolLimits(json_values=30)
    assert len(body) > 60
    assert parse_infer(body, length, limits).inputs[0].data[0] == text


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1000000000],"data":[1]}]}',
        b'{"inputs":[{"name":"x","datatype":"BYTES","shape":[16000000],'
        b'"parameters":{"binary_data_size":0}}]}',
        b'{"inputs":' + b"[" * 10**6,
        b'{"inputs":' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"inputs":[' + b"[[[[],[]]]]," * 10**5 + b"[]]}",
        b'{"inputs":["' + b'\\"' * 10**6,
    ],
    ids=["shape", "strings", "unclosed", "deep", "many lists", "unclosed string"],
)
def test_little_memory_is_taken_before_a_refusal(body: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(ProtocolError):
        parse_infer(body, len(body), ProtocolLimits(json_values=10**5))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # orjson reserves twelve bytes for each of JSON, of which it touches what it needs.
    assert peak < 4 * 2**20 + 13 * len(body)
