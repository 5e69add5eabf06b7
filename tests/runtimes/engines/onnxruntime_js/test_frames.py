"""Frames and the tensors in them: what goes in comes out, and what is hostile is refused."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from runtimes import DataError
from runtimes.engines.onnxruntime_js.frames import (
    MOST_BODY_BYTES,
    MOST_HEADER_BYTES,
    PREFIX_BYTES,
    Frame,
    FrameError,
    head_of,
    lengths_in,
    parse_header,
)
from runtimes.engines.onnxruntime_js.tensors import (
    NUMBERS,
    describe,
    element_type,
    read_tensors,
)

pytestmark = pytest.mark.fast


def entry(**changes: Any) -> dict[str, Any]:
    return {"name": "x", "type": "float32", "dims": [2], "bytes": 8, **changes}


def test_a_frame_is_its_lengths_its_header_and_its_body() -> None:
    data = head_of(Frame({"do": "run"}, b"123")) + b"123"
    assert data == b"KNXF" + struct.pack("<IQ", 13, 3) + b'{"do": "run"}' + b"123"
    assert lengths_in(data[:PREFIX_BYTES]) == (13, 3)
    assert parse_header(data[PREFIX_BYTES:-3]) == {"do": "run"}


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        (struct.pack("<4sIQ", b"HTTP", 2, 0), "a frame starts with b'KNXF', not with b'HTTP'"),
        (struct.pack("<4sIQ", b"KNXF", MOST_HEADER_BYTES + 1, 0), "a header of 16777217 bytes"),
        (struct.pack("<4sIQ", b"KNXF", 2, MOST_BODY_BYTES + 1), "a body of 4294967297 bytes"),
        (struct.pack("<4sIQ", b"KNXF", 2, 2**64 - 1), "a body of 18446744073709551615 bytes"),
    ],
)
def test_lengths_are_checked_before_anything_is_read(prefix: bytes, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        lengths_in(prefix)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1]", "is a list, not an object"),
        (b"null", "is a NoneType, not an object"),
    ],
)
def test_a_header_is_a_json_object(data: bytes, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        parse_header(data)


def test_a_header_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(FrameError, match="16777216 are allowed"):
        head_of(Frame({"do": "x" * MOST_HEADER_BYTES}))


@pytest.mark.parametrize("dtype", NUMBERS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_numbers_come_back_as_they_were(dtype: str, data: st.DataObject) -> None:
    shape = data.draw(arrays.array_shapes(min_dims=0, min_side=0, max_dims=4))
    array = data.draw(arrays.arrays(np.dtype(dtype), shape))
    entries, body = describe({"x": array})
    found = read_tensors(json.loads(json.dumps(entries)), body)["x"]
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()
    assert found.flags.writeable


@settings(max_examples=50, deadline=None)
@given(texts=st.lists(st.text(), max_size=6))
def test_text_comes_back_as_it_was(texts: list[str]) -> None:
    array = np.empty((len(texts), 1), object)
    array[:, 0] = texts
    found = read_tensors(*describe({"s": array}))["s"]
    assert found.dtype == object
    assert found.shape == array.shape
    assert found[:, 0].tolist() == texts


def test_several_arrays_lie_one_after_the_other() -> None:
    feed = {
        "flags": np.array([[True], [False]]),
        "none": np.zeros((0, 3), np.float64),
        "number": np.array(7, np.int64),
        "words": np.array(["a", "käse"], object),
        "turned": np.arange(6, dtype=np.int16).reshape(2, 3).T,
        "other-endian": np.arange(3, dtype=">i4"),
    }
    found = read_tensors(*describe(feed))
    assert list(found) == list(feed)
    for name, array in feed.items():
        np.testing.assert_array_equal(found[name], array)


def test_what_onnx_runtime_has_no_tensor_of_has_no_name() -> None:
    import ml_dtypes

    assert element_type(np.dtype("float16")) == "float16"
    assert element_type(np.dtype(object)) == "string"
    assert element_type(np.dtype(ml_dtypes.bfloat16)) is None
    assert element_type(np.dtype("complex64")) is None


@pytest.mark.parametrize("value", [1, b"bytes", None, "\ud800"])
def test_what_is_no_text_is_refused(value: object) -> None:
    array = np.empty(1, object)
    array[0] = value
    with pytest.raises(DataError, match="'s'"):
        describe({"s": array})


@pytest.mark.parametrize(
    ("entries", "body", "message"),
    [
        (None, b"", "lists no tensors"),
        ([3], b"", "described by a int"),
        ([entry(name=None)], b"12345678", "has no name"),
        ([entry(type="bfloat16")], b"12345678", "unknown type 'bfloat16'"),
        ([entry(type=["float32"])], b"12345678", "unknown type"),
        ([entry(dims=[-2])], b"12345678", r"has the dimensions \[-2\]"),
        ([entry(dims=[True, 2])], b"12345678", "has the dimensions"),
        ([entry(dims=[2.0])], b"12345678", "has the dimensions"),
        ([entry(dims="2")], b"12345678", "has the dimensions '2'"),
        ([entry(dims=[2**62, 2**62])], b"12345678", "takes 8507.* bytes, not 8"),
        ([entry(bytes=-8)], b"12345678", "has -8 bytes"),
        ([entry(bytes="8")], b"12345678", "has '8' bytes"),
        ([entry(bytes=9)], b"12345678", "has 9 bytes, 8 are left"),
        ([entry(dims=[3])], b"12345678", "takes 12 bytes, not 8"),
        ([entry()], b"123456789", "1 bytes belong to no tensor"),
        ([entry(), entry()], b"1234567812345678", "is there twice"),
        ([entry(type="string", dims=[2**40])], b"12345678", "has only 8 bytes"),
        ([entry(type="string", dims=[1])], b"\x09\0\0\0abcd", "ends within its strings"),
        ([entry(type="string", dims=[2])], b"\x04\0\0\0abcd", "ends within its strings"),
        ([entry(type="string", dims=[1])], b"\x02\0\0\0abcd", "2 bytes after its strings"),
    ],
)
def test_hostile_tensors_are_refused(entries: object, body: bytes, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        read_tensors(entries, body)
