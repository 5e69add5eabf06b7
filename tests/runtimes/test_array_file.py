"""Array files: what is written comes back, and nothing else is read."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.array_file import Kind, array_file_chunks, parse_array_file, read_array_file
from runtimes.errors import DataError

KIND = Kind("test", 3, "things to test")
_HEAD = struct.Struct("<8sIQ")


def written(header: dict[str, Any], arrays: dict[str, Any]) -> bytes:
    return b"".join(array_file_chunks(KIND, header, arrays))


def framed(header: Any, payload: bytes = b"", *, kind: bytes = b"test", version: int = 3) -> bytes:
    """A file with a right checksum, whatever it holds."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    body = _HEAD.pack(kind, version, len(text)) + text + payload
    return body + hashlib.sha256(body).digest()


_SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)
_DTYPES = st.sampled_from(["float32", "float64", "float16", "int64", "uint8", "bool"])


@given(st.lists(st.tuples(st.text(max_size=8), _DTYPES, _SHAPES), unique_by=lambda one: one[0]))
def test_arrays_come_back_and_the_bytes_are_the_same(shapes: list[Any]) -> None:
    rng = np.random.default_rng(0)
    arrays = {name: (9 * rng.normal(size=shape)).astype(dtype) for name, dtype, shape in shapes}
    raw = written({"a": [1, "é"]}, arrays)
    header, found = parse_array_file(raw, KIND, "x")
    assert header == {"a": [1, "é"]}
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    assert written({"a": [1, "é"]}, dict(reversed(arrays.items()))) == raw


def test_text_comes_back(tmp_path: Any) -> None:
    texts = np.array([["a", "zwölf"], ["", "\n"]], object)
    (tmp_path / "t").write_bytes(written({}, {"t": texts, "b": np.array([b"x"], object)}))
    _, found = read_array_file(tmp_path / "t", KIND)
    assert found["t"].tolist() == texts.tolist()
    assert found["b"].tolist() == ["x"]
    with pytest.raises(DataError, match="datetime64"):
        written({}, {"d": np.zeros(1, "datetime64[s]")})
    with pytest.raises(DataError, match="No such file"):
        read_array_file(tmp_path / "nothing", KIND)


def entry(**changed: Any) -> dict[str, Any]:
    return {"arrays": [{"name": "a", "dtype": "uint8", "shape": [2], "bytes": 2, **changed}]}


_HUGE = 2**61
HOSTILE = {
    "empty": (b"", "too short"),
    "another kind": (framed({"arrays": []}, kind=b"other"), "does not hold things to test"),
    "another version": (framed({"arrays": []}, version=4), "version 4 of its format.* 3"),
    "a header longer than the file": (_HEAD.pack(b"test", 3, 2**60) + bytes(64), "longer than"),
    "no JSON": (framed(b"{"), "damaged header"),
    "no UTF-8": (framed(b"\xff\xfe"), "damaged header"),
    "NaN": (framed(b'{"arrays": [], "x": NaN}'), "NaN is not JSON"),
    "deep nesting": (framed(b"[" * 100_000), "damaged header"),
    "a list": (framed([]), "no JSON object"),
    "a key twice": (framed(b'{"arrays": [], "arrays": []}'), "stands twice"),
    "no arrays": (framed({}), "arrays are no list"),
    "an entry too many": (framed(entry(more=1), b"ab"), "not described"),
    "objects": (framed(entry(dtype="object"), b"ab"), "no type 'object'"),
    "a type that is none": (framed(entry(dtype=["uint8"]), b"ab"), "no type"),
    "a negative size": (framed(entry(shape=[-2], bytes=-2)), "a size that is none"),
    "a size that is true": (framed(entry(shape=[True], bytes=1), b"a"), "a size that is none"),
    "more than there is": (framed(entry(shape=[_HUGE], bytes=_HUGE), b"ab"), "cut off"),
    "a product that overflows": (
        framed(entry(shape=[2**32, 2**32], bytes=0)),
        "not as long as its shape",
    ),
    "many dimensions": (framed(entry(shape=[1] * 33, bytes=1), b"a"), "a size that is none"),
    "other bytes than the shape": (framed(entry(bytes=3), b"abc"), "not as long as its shape"),
    "trailing bytes": (framed(entry(), b"abc"), "cut off or damaged"),
    "a name twice": (
        framed({"arrays": entry()["arrays"] * 2}, b"abab"),
        "names an array twice",
    ),
    "a wrong checksum": (framed(entry(), b"ab")[:-1] + b"\0", "checksum"),
    "text that is none": (framed(entry(dtype="text"), b"{}"), "damaged text"),
    "fewer texts": (framed(entry(dtype="text"), b"[]"), "damaged text"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_with_a_sentence(name: str) -> None:
    raw, message = HOSTILE[name]
    with pytest.raises(DataError, match=f"^x.stats .*{message}"):
        parse_array_file(raw, KIND, "x.stats")
