"""A bundle in one file, opened: each byte that is no content is what a writer would have written.

Entries are stored as they are, so what an archive holds is never larger than itself; whatever lies
about a size, shares bytes or hides between entries differs from the one form and is refused.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from runtimes.bundle.faults import Fault, refusal
from runtimes.bundle.file_names import LONGEST_NAME, MOST_FILES, UNLISTED, check_names
from runtimes.bundle.zip_records import (
    CENTRAL,
    LONGEST_ENDING,
    CentralRecord,
    ZipEntry,
    central_header,
    ending,
    local_header,
    parse_central,
    parse_ending,
)
from runtimes.errors import BundleError

_MOST_DIRECTORY_BYTES = MOST_FILES * (CENTRAL.size + LONGEST_NAME + 28)
_ENCRYPTED = 1


def in_order(name: str) -> tuple[bool, str]:
    """The order of files in an archive: by name, and what vouches for the others last."""
    return name in UNLISTED, name


def open_archive(file: BinaryIO, path: Path) -> dict[str, ZipEntry]:
    """The entries of an archive by name, none of which was read yet; raises ``BundleError``."""
    size = file.seek(0, os.SEEK_END)
    count, length, offset = _directory(file, size, path)
    file.seek(offset)
    raw = file.read(length)
    try:
        records = list(parse_central(raw, count))
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    for record in records:
        _check_record(record, path)
    entries = [record.entry for record in records]
    check_names([entry.name for entry in entries], str(path))
    _check_layout(entries, offset, path)
    if b"".join(map(central_header, entries)) != raw:
        raise _damaged(path, "its central directory is not in the form of a bundle")
    for entry in entries:
        _check_local(file, entry, path)
    return {entry.name: entry for entry in entries}


def _directory(file: BinaryIO, size: int, path: Path) -> tuple[int, int, int]:
    """Entries, length and offset of the central directory, which ends where the ending begins."""
    file.seek(max(0, size - LONGEST_ENDING))
    found = parse_ending(file.read(LONGEST_ENDING))
    if found is None:
        raise _damaged(path, "it does not end as one, or something follows its end")
    count, length, offset = found
    if count > MOST_FILES or length > _MOST_DIRECTORY_BYTES:
        raise refusal(
            Fault.TOO_MANY, f"{path} holds {count} entries, and a bundle at most {MOST_FILES:,}"
        )
    if offset + length + len(ending(count, length, offset)) != size:
        raise _damaged(path, "its end does not follow its central directory")
    return found


def _check_record(record: CentralRecord, path: Path) -> None:
    name = record.raw_name[:LONGEST_NAME]
    if record.flags & _ENCRYPTED:
        raise _damaged(path, f"the entry {name!r} is encrypted")
    if record.method or record.compressed_size != record.entry.size:
        raise refusal(
            Fault.COMPRESSED,
            f"{path}: the entry {name!r} is compressed, and a bundle stores its files as they are, "
            "so that none is larger than it looks",
        )
    if stat.S_ISLNK(record.mode):
        raise refusal(
            Fault.LINK, f"{path}: the entry {name!r} is a link, and a bundle holds files themselves"
        )
    if not record.raw_name.isascii():
        raise refusal(Fault.BAD_NAME, f"{path}: the name {name!r} is not ASCII")


def _check_layout(entries: list[ZipEntry], end: int, path: Path) -> None:
    """Entries in their order, one after the other from the first byte to the directory."""
    position = 0
    for entry in entries:
        if entry.offset != position:
            raise _damaged(path, f"{entry.name!r} shares bytes with another entry, or lies apart")
        position = entry.stop
        if position > end:
            raise _damaged(path, f"{entry.name!r} reaches beyond the entries")
    if position != end:
        raise _damaged(path, "something lies between its entries and its central directory")
    names = [entry.name for entry in entries]
    if names != sorted(names, key=in_order):
        raise _damaged(path, "its entries are not in the order of a bundle")


def _check_local(file: BinaryIO, entry: ZipEntry, path: Path) -> None:
    expected = local_header(entry)
    file.seek(entry.offset)
    if file.read(len(expected)) != expected:
        raise _damaged(path, f"the header of {entry.name!r} is not what the directory says")


def _damaged(path: Path, reason: str) -> BundleError:
    return refusal(
        Fault.BAD_ARCHIVE,
        f"{path} is not a bundle in one file: {reason}; one is made of a folder with: "
        "kilnx package FOLDER -o NAME.kilnx",
    )
