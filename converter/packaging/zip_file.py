"""Zip files whose bytes follow from their content alone."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from typing import IO

# The earliest time that a zip file can tell.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_LEVEL = 6


def write_zip(file: IO[bytes], entries: Iterable[tuple[str, bytes]]) -> None:
    """Write ``entries``, path and content, in their order, compressed."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for name, content in entries:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, wherever it is written
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content, compresslevel=_LEVEL)
