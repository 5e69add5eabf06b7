"""Frames come out as they went in, and everything else is refused before anything is made of it."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any, Literal

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from runtimes.agent.messages import ModelFiles, Part
from runtimes.agent.protocol import MAGIC, decode, encode
from runtimes.agent.typed_json import Malformed, read
from runtimes.json_values import plain

pytestmark = pytest.mark.fast

DTYPES = st.sampled_from(["float32", "float16", "float64", "int8", "uint64", "int64", "bool"])


@given(
    st.dictionaries(
        st.text(max_size=5),
        DTYPES.flatmap(lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0))),
        max_size=3,
    )
)
def test_arrays_come_out_as_they_went_in(tensors: dict[str, np.ndarray]) -> None:
    body, found = decode(encode({"one": 1}, tensors))
    assert body == {"one": 1}
    assert list(found) == list(tensors)
    for name, array in tensors.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
        assert found[name].flags.writeable


def test_text_bfloat16_and_empty_arrays_come_out_as_they_went_in() -> None:
    given_arrays = {
        "text": np.array([["a", ""], ["ü…", "b\0c"]], object),
        "narrow": np.array([1.5, -2], ml_dtypes.bfloat16),
        "empty": np.zeros((3, 0, 2), np.int8),
        "strided": np.arange(12.0).reshape(3, 4).T[::2],
    }
    _, found = decode(encode(None, given_arrays))
    for name, array in given_arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_what_is_no_number_is_not_sent() -> None:
    with pytest.raises(Malformed, match="'z' is an array of complex64"):
        encode(None, {"z": np.zeros(1, np.complex64)})


def framed(head: Any, data: bytes = b"") -> bytes:
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return MAGIC + struct.pack("<I", len(text)) + text + data


def told(*tensors: Any) -> Any:
    return {"body": None, "tensors": list(tensors)}


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "no frame"),
        (MAGIC, "no frame"),
        (b"GET / HTTP/1.1\r\n\r\n", "no frame"),
        (MAGIC + struct.pack("<I", 2**32 - 1) + b"{}", "longer than the frame"),
        (framed(b"{"), "not JSON"),
        (framed(b"[" * 100_000), "not JSON"),
        (framed(b'{"body": NaN, "tensors": []}'), "no number of JSON"),
        (framed([]), "not one"),
        (framed({"body": 1}), "not one"),
        (framed({"body": 1, "tensors": 3}), "more than"),
        (framed(told(*(["x", "int8", [0], 0] for _ in range(300)))), "more than 256 arrays"),
        (framed(told("x")), "name, dtype, shape and size"),
        (framed(told([1, "int8", [0], 0])), "name of an array"),
        (framed(told(["x" * 2000, "int8", [0], 0])), "name of an array"),
        (framed(told(["x", "int8", 3, 3]), b"abc"), "shape of an array"),
        (framed(told(["x", "int8", [1] * 40, 1]), b"a"), "shape of an array"),
        (framed(told(["x", "int8", [-1], 1]), b"a"), "negative"),
        (framed(told(["x", "int8", [-1, -1], 1]), b"a"), "negative"),
        (framed(told(["x", "int8", [1.0], 1]), b"a"), "no integer"),
        (framed(told(["x", "int8", [True], 1]), b"a"), "no integer"),
        (framed(told(["x", "int8", [2**62], 2**62])), "too large"),
        (framed(told(["x", "float32", [2**40, 2**40], 16]), b"a" * 16), "not as long"),
        (framed(told(["x", "int8", [2**47, 2**47, 0], 0])), "none that arrays have"),
        (framed(told(["x", "int8", [3], 3]), b"ab"), "not as long as the frame"),
        (framed(told(["x", "int8", [3], 3]), b"abcd"), "not as long as the frame"),
        (framed(told(["x", "int8", [1], 1], ["x", "int8", [1], 1]), b"ab"), "same name"),
        (framed(told(["x", "object", [1], 8]), b"a" * 8), "'object' are not sent"),
        (framed(told(["x", ["int8"], [1], 1]), b"a"), "not sent"),
        (framed(told(["x", "string", [2**40], 8]), b"a" * 8), "shorter than its shape"),
        (framed(told(["x", "string", [1], 6]), b"\xff\xff\xff\xffab"), "cut off"),
        (framed(told(["x", "string", [1], 5]), b"\1\0\0\0\xff"), "not UTF-8"),
        (framed(told(["x", "string", [1], 6]), b"\1\0\0\0ab"), "longer than its shape"),
        (framed(told(["x", "string", [2], 9]), b"\5\0\0\0abcde"), "cut off"),
    ],
)  # fmt: skip
def test_hostile_frames_are_refused(frame: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        decode(frame)


@given(st.binary(max_size=200), st.integers(0, 60), st.integers(0, 255))
def test_no_bytes_do_more_than_be_refused(junk: bytes, place: int, byte: int) -> None:
    frame = bytearray(encode({"a": [1]}, {"x": np.ones(3, np.float32)}))
    frame[place] = byte
    for one in (bytes(frame), bytes(frame[:place]), bytes(frame) + junk, MAGIC + junk):
        try:
            decode(one)
        except Malformed:
            continue


@dataclass(frozen=True)
class Inner:
    size: int
    share: float = 0.5


@dataclass(frozen=True)
class Outer:
    name: str
    inner: tuple[Inner, ...]
    kind: Literal["a", "b"] = "a"
    shape: tuple[int | str | None, ...] | None = None
    by_name: dict[str, float] | None = None


def test_dataclasses_come_out_as_they_went_in() -> None:
    one = Outer("x", (Inner(3), Inner(4, 0.25)), "b", (1, "n", None), {"p": 2.0})
    assert read(Outer, json.loads(json.dumps(plain(one)))) == one
    assert read(Outer, {"name": "x", "inner": []}) == Outer("x", ())


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "message is not an object"),
        ({"name": "x"}, "lacks inner"),
        ({"name": "x", "inner": [], "more": 1}, "unknown field 'more'"),
        ({"name": 3, "inner": []}, "message.name is not text"),
        ({"name": "\x1b[2J", "inner": []}, "control characters"),
        ({"name": "x", "inner": {}}, "message.inner is not a list"),
        ({"name": "x", "inner": [{"size": "3"}]}, r"inner\[0\].size is not an integer"),
        ({"name": "x", "inner": [{"size": True}]}, "size is not an integer"),
        ({"name": "x", "inner": [{"size": 1, "share": "x"}]}, "share is not a number"),
        ({"name": "x", "inner": [{"size": 1, "share": 10**400}]}, "share is too large"),
        ({"name": "x", "inner": [], "kind": "c"}, "kind is not one of a, b"),
        ({"name": "x", "inner": [], "shape": [1.5]}, r"shape\[0\] is not"),
        ({"name": "x", "inner": [], "by_name": []}, "by_name is not an object"),
    ],
)
def test_values_of_another_type_are_refused(value: Any, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        read(Outer, value)


@pytest.mark.parametrize(
    "name", ["", ".", "/etc/passwd", "../up", "a/../../b", "a//b", "a\\b", "a\nb", "x" * 300,
             "a/b/c/d/e"],
)  # fmt: skip
def test_files_of_a_model_stay_in_its_folder(name: str) -> None:
    with pytest.raises(Malformed, match="no name of a file inside"):
        ModelFiles("m.onnx", {"m.onnx": (), name: ()})


def test_parts_have_a_digest_and_a_size() -> None:
    for digest, size in (("../../x", 1), ("a" * 64, -1), ("A" * 64, 1)):
        with pytest.raises(Malformed, match="a part of a file"):
            Part(digest, size)
    with pytest.raises(Malformed, match="lacks its own file"):
        ModelFiles("m.onnx", {"other.onnx": ()})
