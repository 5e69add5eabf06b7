"""Whatever happens to the bytes of a bundle: it is the same, or it is refused; never a crash."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis.strategies as st
import pytest
from bundles import MANIFEST, make_bundle
from hypothesis import given, settings

from runtimes import Bundle
from runtimes.bundle.canonical_json import canonical, parse_canonical
from runtimes.errors import BundleError

pytestmark = pytest.mark.fast

LIGHT = settings(max_examples=150, deadline=None)
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@cache
def original() -> tuple[Any, bytes, bytes]:
    """The document, the manifest and the archive of one bundle."""
    with TemporaryDirectory() as name:
        folder = make_bundle(Path(name))
        raw = (folder / MANIFEST).read_bytes()
        return json.loads(raw), raw, make_bundle(Path(name), "one.kilnx").read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("damage"))


@LIGHT
@given(VALUES)
def test_canonical_json_is_read_back_and_is_one_text(value: Any) -> None:
    raw = canonical(value)
    assert canonical(parse_canonical(raw)) == raw
    assert parse_canonical(raw) == json.loads(json.dumps(value))


@LIGHT
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_lose_nothing(value: float) -> None:
    assert float(canonical(value)) == value


@LIGHT
@given(VALUES, st.text(" \n\t", min_size=1, max_size=3), st.integers(0, 1))
def test_any_other_text_of_the_same_value_is_refused(value: Any, space: str, end: int) -> None:
    raw = canonical(value)
    other = space.encode() + raw if end else raw + space.encode()
    with pytest.raises(ValueError, match="one form"):
        parse_canonical(other)


def _same_or_refused(path: Path) -> bool:
    try:
        with Bundle.open(path) as bundle:
            return bundle.digest.startswith("sha256:")
    except BundleError:
        return False


@st.composite
def damaged(draw: st.DrawFn, raw: bytes) -> bytes:
    """Bytes changed, taken out, put in, or doubled."""
    start = draw(st.integers(0, len(raw) - 1))
    stop = draw(st.integers(start, min(len(raw), start + 40)))
    kind = draw(st.sampled_from(["cut", "replace", "insert", "double"]))
    if kind == "cut":
        return raw[:start] + raw[stop:]
    if kind == "double":
        return raw[:stop] + raw[start:]
    new = draw(st.binary(min_size=1, max_size=8))
    return raw[:start] + new + raw[stop if kind == "replace" else start :]


@LIGHT
@given(st.data())
def test_a_damaged_manifest_changes_the_identity_or_is_refused(folder: Path, data: Any) -> None:
    _, raw, _ = original()
    (folder / MANIFEST).write_bytes(raw)
    with Bundle.open(folder) as bundle:
        before = bundle.digest
    broken = data.draw(damaged(raw))
    (folder / MANIFEST).write_bytes(broken)
    try:
        with Bundle.open(folder) as bundle:
            assert (bundle.digest == before) == (broken == raw)
    except BundleError:
        assert broken != raw


@LIGHT
@given(st.data())
def test_a_damaged_archive_is_refused(tmp_path_factory: Any, data: Any) -> None:
    _, _, raw = original()
    path = tmp_path_factory.getbasetemp() / "damaged.kilnx"
    broken = data.draw(damaged(raw))
    path.write_bytes(broken)
    assert _same_or_refused(path) == (broken == raw)


def paths_in(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every member of a document."""
    inner = document.items() if isinstance(document, dict) else ()
    if isinstance(document, list):
        inner = enumerate(document)
    for key, value in inner:
        yield (*path, key)
        yield from paths_in(value, (*path, key))


@LIGHT
@given(st.data())
def test_any_value_anywhere_in_a_manifest(folder: Path, data: Any) -> None:
    document = json.loads(json.dumps(original()[0]))
    *above, last = data.draw(st.sampled_from(list(paths_in(document))))
    holder = document
    for key in above:
        holder = holder[key]
    holder[last] = data.draw(VALUES)
    (folder / MANIFEST).write_bytes(canonical(document))
    _same_or_refused(folder)


@LIGHT
@given(st.text(max_size=30))
def test_any_name_of_a_file(folder: Path, name: str) -> None:
    document = json.loads(json.dumps(original()[0]))
    document["files"][name] = {"sha256": "0" * 64, "size": 0}
    try:
        raw = canonical(document)
    except ValueError:  # a lone surrogate
        return
    (folder / MANIFEST).write_bytes(raw)
    assert _same_or_refused(folder) is False


def test_half_a_copy_is_refused(tmp_path: Path) -> None:
    """A copy that was cut off at any file: the manifest comes last, so there is none, or less."""
    folder = make_bundle(tmp_path)
    for kept in range(5):
        half = tmp_path / f"half-{kept}"
        half.mkdir()
        for path in sorted(folder.iterdir())[:kept]:
            shutil.copy(path, half)
        assert not _same_or_refused(half)
