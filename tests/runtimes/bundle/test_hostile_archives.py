"""Archives that are no bundles: nothing is unpacked before every record of them was checked."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bundles import MANIFEST, archive_of, files_of, make_bundle

from runtimes import Bundle
from runtimes.bundle import Fault, zip_records
from runtimes.bundle.zip_records import ZipEntry, central_header, local_header
from runtimes.errors import BundleError

pytestmark = pytest.mark.fast

Files = list[tuple[str, bytes]]


def _patched(at: int, value: bytes) -> Callable[[ZipEntry], bytes]:
    """The central record of an entry with other bytes at ``at``."""

    def central(entry: ZipEntry) -> bytes:
        raw = bytearray(central_header(entry))
        raw[at : at + len(value)] = value
        return bytes(raw)

    return central


def _more(name: str, content: bytes = b"more") -> Callable[[Files], bytes]:
    return lambda files: archive_of([(name, content), *files])


def _zip(method: int) -> Callable[[Files], bytes]:
    def write(files: Files) -> bytes:
        from io import BytesIO

        file = BytesIO()
        with zipfile.ZipFile(file, "w", method) as archive:
            for name, content in files:
                archive.writestr(name, content)
        return file.getvalue()

    return write


def _shared(files: Files) -> bytes:
    """Every entry says that it lies where the first does."""
    return archive_of(files, central=lambda entry: central_header(replace(entry, offset=0)))


def _other_local_name(files: Files) -> bytes:
    return archive_of(
        files, local=lambda entry: local_header(replace(entry, name="x" * len(entry.name)))
    )


def _wrong_crc(files: Files) -> bytes:
    wrong = {
        "local": lambda entry: local_header(replace(entry, crc=7)),
        "central": lambda entry: central_header(replace(entry, crc=7)),
    }
    return archive_of(files, **wrong)


def _bomb(files: Files) -> bytes:
    """A record that promises a petabyte."""
    return archive_of(files, central=lambda entry: central_header(replace(entry, size=1 << 50)))


def _changed_content(files: Files) -> bytes:
    return archive_of([(n, c[:-1] + b"!") if n == "fp32.onnx" else (n, c) for n, c in files])


ARCHIVES: dict[str, tuple[Callable[[Files], bytes], Fault]] = {
    "empty": (lambda files: b"", Fault.BAD_ARCHIVE),
    "no zip": (lambda files: b"x" * 1000, Fault.BAD_ARCHIVE),
    "no entries": (lambda files: archive_of([]), Fault.NO_MANIFEST),
    "cut off": (lambda files: archive_of(files)[:-30], Fault.BAD_ARCHIVE),
    "something before": (lambda files: b"#!/bin/sh\n" + archive_of(files), Fault.BAD_ARCHIVE),
    "something after": (lambda files: archive_of(files) + b"\0", Fault.BAD_ARCHIVE),
    "a comment": (
        lambda files: archive_of(files, end=lambda end: end[:-2] + b"\2\0hi"),
        Fault.BAD_ARCHIVE,
    ),
    "more entries than there are": (
        lambda files: archive_of(
            files, end=lambda end: end[:8] + struct.pack("<2H", 99, 99) + end[12:]
        ),
        Fault.BAD_ARCHIVE,
    ),
    "60,000 entries": (
        lambda files: archive_of(
            files, end=lambda end: end[:8] + struct.pack("<2H", 60000, 60000) + end[12:]
        ),
        Fault.TOO_MANY,
    ),
    "compressed": (_zip(zipfile.ZIP_DEFLATED), Fault.COMPRESSED),
    "with times": (_zip(zipfile.ZIP_STORED), Fault.BAD_ARCHIVE),
    "encrypted": (lambda files: archive_of(files, central=_patched(8, b"\1")), Fault.BAD_ARCHIVE),
    "link": (
        lambda files: archive_of(files, central=_patched(40, struct.pack("<H", 0o120777))),
        Fault.LINK,
    ),
    "sizes differ": (
        lambda files: archive_of(files, central=_patched(20, struct.pack("<I", 1))),
        Fault.COMPRESSED,
    ),
    "bomb": (_bomb, Fault.BAD_ARCHIVE),
    "shared bytes": (_shared, Fault.BAD_ARCHIVE),
    "another order": (lambda files: archive_of(files[::-1]), Fault.BAD_ARCHIVE),
    "another name inside": (_other_local_name, Fault.BAD_ARCHIVE),
    "wrong CRC": (_wrong_crc, Fault.DIGEST),
    "changed": (_changed_content, Fault.DIGEST),
    "upwards": (_more("../evil"), Fault.OUTSIDE),
    "absolute": (_more("/tmp/evil"), Fault.OUTSIDE),
    "backslash": (_more("..\\evil"), Fault.OUTSIDE),
    "folder entry": (_more("sub/", b""), Fault.BAD_NAME),
    "no name": (_more("", b""), Fault.BAD_NAME),
    "name twice": (_more("fp32.onnx"), Fault.DUPLICATE),
    "case": (_more("FP32.onnx"), Fault.CASE_COLLISION),
    "extra": (_more("extra"), Fault.EXTRA),
    "missing": (lambda files: archive_of(files[1:]), Fault.MISSING),
    "no manifest": (lambda files: archive_of(files[:-1]), Fault.NO_MANIFEST),
    "nested": (_more("kilnx-bundle.json.minisig", b"\0" * (1 << 15)), Fault.BAD_ARCHIVE),
}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return files_of(make_bundle(tmp_path))


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_hostile_archive_is_refused(
    tmp_path: Path, files: Files, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, kind = ARCHIVES[name]
    path = tmp_path / "hostile.kilnx"
    path.write_bytes(write(files))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    with pytest.raises(BundleError) as caught:
        Bundle.open(path)
    assert caught.value.kind == kind
    assert str(path) in str(caught.value)
    assert not os.listdir(scratch)  # noqa: PTH208
    assert not (tmp_path.parent / "evil").exists()


def test_the_form_that_is_broken_above_is_the_right_one(tmp_path: Path, files: Files) -> None:
    path = tmp_path / "right.kilnx"
    path.write_bytes(archive_of(files))
    with Bundle.open(path) as bundle:
        assert bundle.name == "digits"


def test_a_name_that_is_not_ascii(tmp_path: Path, files: Files) -> None:
    raw = archive_of([("aaaa", b""), *files]).replace(b"aaaa", "äö".encode())
    (tmp_path / "x.kilnx").write_bytes(raw)
    with pytest.raises(BundleError, match="ASCII") as caught:
        Bundle.open(tmp_path / "x.kilnx")
    assert caught.value.kind == Fault.BAD_NAME


@pytest.mark.parametrize("byte", range(0, 60))
def test_no_byte_of_the_headers_may_be_another(tmp_path: Path, files: Files, byte: int) -> None:
    raw = bytearray(archive_of(files))
    end = len(raw) - 22 - 46  # the ending, and the last central record before its name
    place = byte if byte < 30 else end - 30 + byte
    raw[place] ^= 0xFF
    path = tmp_path / "flipped.kilnx"
    path.write_bytes(raw)
    with pytest.raises(BundleError):
        Bundle.open(path)


def test_large_entries_have_numbers_of_64_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same code as above 4 GiB, where the limit is lower; other readers understand it."""
    monkeypatch.setattr(zip_records, "_is_large", lambda number: number >= 100)
    path = make_bundle(tmp_path, "large.kilnx")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert MANIFEST in archive.namelist()
        assert archive.getinfo(MANIFEST).file_size > 100
    with Bundle.open(path) as bundle:
        assert bundle.name == "digits"
