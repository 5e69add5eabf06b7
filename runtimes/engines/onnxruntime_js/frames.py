"""The frames that kilnx and its Node process send each other.

A frame is 16 bytes, a header and a body::

    4 bytes  KNXF
    4 bytes  length of the header, little-endian
    8 bytes  length of the body, little-endian
    header   a JSON object in UTF-8
    body     bytes; what they are is said in the header

Both lengths are checked before anything of the frame is read.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAGIC = b"KNXF"
MOST_HEADER_BYTES = 16 * 2**20
MOST_BODY_BYTES = 4 * 2**30

_PREFIX = struct.Struct("<4sIQ")
PREFIX_BYTES = _PREFIX.size


class FrameError(Exception):
    """What the other side sent is no frame of this protocol."""


@dataclass(frozen=True)
class Frame:
    """What one side says: a JSON object, and bytes."""

    header: Mapping[str, Any]
    body: bytes | bytearray = b""


def head_of(frame: Frame) -> bytes:
    """The frame's bytes but for its body.

    Raises:
        FrameError: The frame is longer than the protocol allows.
    """
    header = json.dumps(frame.header).encode()
    _check_lengths(len(header), len(frame.body))
    return _PREFIX.pack(MAGIC, len(header), len(frame.body)) + header


def lengths_in(prefix: bytes) -> tuple[int, int]:
    """How long the header and the body are, from the first 16 bytes of a frame.

    Raises:
        FrameError: These bytes start no frame, or one that is too long.
    """
    magic, header, body = _PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise FrameError(f"a frame starts with {MAGIC!r}, not with {magic!r}")
    _check_lengths(header, body)
    return header, body


def parse_header(data: bytes) -> Mapping[str, Any]:
    """The JSON object of a header.

    Raises:
        FrameError: The bytes are no JSON object.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FrameError("the header of a frame is not JSON") from error
    if not isinstance(found, dict):
        raise FrameError(f"the header of a frame is a {type(found).__name__}, not an object")
    return found


def _check_lengths(header: int, body: int) -> None:
    if header > MOST_HEADER_BYTES:
        raise FrameError(f"a header of {header} bytes; {MOST_HEADER_BYTES} are allowed")
    if body > MOST_BODY_BYTES:
        raise FrameError(f"a body of {body} bytes; {MOST_BODY_BYTES} are allowed")
