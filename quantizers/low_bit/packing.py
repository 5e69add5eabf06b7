"""Codes of fewer than eight bits, packed into bytes and found again by looking bytes up.

ONNX has tensors of four bits, but ONNX Runtime 1.20 cannot cast them. A table of 256 rows says
which codes a byte holds, so that a Gather unpacks them: it has a kernel everywhere.
"""

from __future__ import annotations

import numpy as np

from runtimes.base import Array

PACKED_BITS = (2, 4)
"""Widths of which several fit into a byte."""


def pack(codes: Array, bits: int) -> Array:
    """``codes`` (signed or unsigned integers of ``bits``) as bytes, the first in the lowest bits.

    The last byte is filled up with zeros.
    """
    in_byte = 8 // bits
    flat = codes.reshape(-1).astype(np.uint8) & ((1 << bits) - 1)
    flat = np.concatenate([flat, np.zeros(-flat.size % in_byte, np.uint8)]).reshape(-1, in_byte)
    shifts = np.arange(in_byte, dtype=np.uint8) * bits
    return np.asarray(np.bitwise_or.reduce(flat << shifts, axis=1), dtype=np.uint8)


def unpacking_table(bits: int) -> Array:
    """The signed codes in each of the 256 bytes, int8 ``[256, codes in a byte]``.

    A negative one counts from the end where it is used as an index: -1 is the last.
    """
    shifts = np.arange(8 // bits) * bits
    codes = (np.arange(256)[:, None] >> shifts) & ((1 << bits) - 1)
    return signed(codes, bits)


def unpack(packed: Array, bits: int, count: int) -> Array:
    """The first ``count`` signed codes of what ``pack`` gave, int8."""
    return np.asarray(unpacking_table(bits)[packed].reshape(-1)[:count])


def signed(codes: Array, bits: int) -> Array:
    """Codes 0 … 2^bits - 1 as signed ones, the upper half negative, int8."""
    return np.where(codes >= 1 << (bits - 1), codes - (1 << bits), codes).astype(np.int8)
