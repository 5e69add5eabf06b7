"""A weight as a few bits an element, and the numbers that make floats of them again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantizers.low_bit.packing import PACKED_BITS
from runtimes.base import Array


@dataclass(frozen=True)
class LowBitWeight:
    """``(codebook or identity)[codes] × scale``, in the shape of the weight.

    Attributes:
        codes: Signed integers of ``bits`` (2, 4 or 8), int8, in the shape of the weight. With a
            codebook they are indices, the upper half of which counts from the end.
        bits: Of a code.
        codebook: The values of the codes, ``[2^bits]``: float32, or int8 where the weight is the
            INT8 weight of a quantized operator. None: the codes themselves.
        scale: What values are multiplied by, float32 or float16, as many axes as ``blocks``, each
            as long or one. None: nothing.
        blocks: The shape in which the codes meet the scale; that of the weight, or one with
            an axis split or joined so that a scale spans a block.
    """

    codes: Array
    bits: int
    codebook: Array | None
    scale: Array | None
    blocks: tuple[int, ...]

    def values(self) -> Array:
        """The weight that the codes stand for: float32, or int8."""
        if self.codebook is None:
            found = self.codes.astype(np.float32)
        else:
            found = self.codebook[self.codes]
        if self.scale is not None:
            found = found.reshape(self.blocks) * self.scale.astype(np.float32)
        return np.asarray(found.reshape(self.codes.shape))

    @property
    def constant_bytes(self) -> int:
        """Bytes of the codes, scales and codebook."""
        extra = [one.nbytes for one in (self.codebook, self.scale) if one is not None]
        return math.ceil(self.codes.size * self.bits / 8) + sum(extra)

    @property
    def form(self) -> str:
        """How the weight is stored, in words."""
        if self.codebook is not None:
            return f"{2**self.bits} clusters"
        return f"int{self.bits}"

    def to_dict(self) -> dict[str, Any]:
        """For reports."""
        return {"form": self.form, "bits": self.bits, "bytes": self.constant_bytes}


def check_bits(bits: int) -> None:
    """Raise ``ValueError`` for a width that nothing is stored in."""
    if bits not in (*PACKED_BITS, 8):
        raise ValueError(f"bits must be 2, 4 or 8, not {bits}")
