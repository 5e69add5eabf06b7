"""Hashes of whole numbers: of their digits as text, which can be computed without the text.

The hash is FarmHash's Fingerprint64, and TensorFlow's bucket the remainder of it:
https://github.com/google/farmhash/blob/master/src/farmhash.cc (farmhashna)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from converter.lowering.builder import Builder
from converter.lowering.operators.base import UnsupportedLowering

_INT64, _STRING, _UINT64 = 7, 8, 13
_LONGEST = 20  # characters of -9223372036854775808
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F


def as_string(build: Builder, node: Any) -> Any:
    """AsString of whole numbers."""
    (x,) = node.input
    plain = node.get_attr_value("width", -1) in (-1, 0) and not node.get_attr_value("fill")
    if build.numpy_type(x).kind not in "iu" or not plain:
        return NotImplemented
    return [build.op("Cast", x, to=_STRING)]


def hash_bucket(build: Builder, node: Any) -> Any:
    """StringToHashBucketFast of numbers that were written out just before."""
    source = node.inputs[0]
    while source.type == "Identity":
        source = source.inputs[0]
    if source.type != "Cast" or build.numpy_type(source.input[0]).kind not in "iu":
        return NotImplemented
    if build.opset < 18:
        raise UnsupportedLowering(node, "numbers are hashed from opset 18 on (--opset 18)")
    number = build.op("Cast", source.input[0], to=_INT64)
    buckets = build.constant(int(node.get_attr_value("num_buckets")), np.uint64)
    bucket = build.op("Mod", _fingerprint(build, number), buckets)
    return [build.op("Cast", bucket, to=_INT64)]


def _fingerprint(build: Builder, number: str) -> str:
    text = _Text.of(build, number)
    length = text.length
    short, middle, long, longest = (
        formula(build, text) for formula in (_up_to_3, _up_to_7, _up_to_16, _up_to_32)
    )
    result = longest
    for limit, shorter in ((17, long), (8, middle), (4, short)):
        below = build.op("Less", length, build.constant(limit))
        # ONNX Runtime chooses between signed numbers only.
        signed = [build.op("Cast", each, to=_INT64) for each in (shorter, result)]
        result = build.op("Cast", build.op("Where", below, *signed), to=_UINT64)
    return result


@dataclass(frozen=True)
class _Text:
    """The characters of numbers, counted from the end, on one more axis; and their number."""

    build: Builder
    backwards: str
    length: str

    @staticmethod
    def of(build: Builder, number: str) -> _Text:
        negative = build.op("Less", number, build.constant(0))
        size = build.op("Where", negative, build.op("Neg", number), number)
        size = build.unsqueeze(build.op("Cast", size, to=_UINT64), -1)
        powers = build.constant([10**i for i in range(_LONGEST)], np.uint64)
        digits = build.op("Mod", build.op("Div", size, powers), build.constant(10, np.uint64))
        characters = build.op("Add", build.op("Cast", digits, to=_INT64), build.constant(ord("0")))
        reached = build.op("Cast", build.op("GreaterOrEqual", size, powers), to=_INT64)
        # The number 0 has a digit, too.
        count = build.op("Max", build.reduce("ReduceSum", reached, [-1]), build.constant(1))
        place = build.constant(range(_LONGEST))
        inside = build.op("Less", place, build.unsqueeze(count, -1))
        characters = build.op("Where", inside, characters, build.constant(ord("-")))
        length = build.op("Add", count, build.op("Cast", negative, to=_INT64))
        return _Text(build, characters, length)

    def at(self, place: str) -> str:
        """The character that is so far from the end; nothing that is used is beyond."""
        ends = (self.build.constant(end) for end in (0, _LONGEST - 1))
        held = self.build.op("Clip", place, *ends)
        return self.build.op("GatherElements", self.backwards, held, axis=-1)

    def from_start(self, begin: int, count: int) -> str:
        """``count`` characters as one number, the first of them its lowest byte."""
        build = self.build
        last = build.op("Sub", build.unsqueeze(self.length, -1), build.constant(1 + begin))
        return self._number(build.op("Sub", last, build.constant(range(count))), count)

    def from_end(self, begin: int, count: int) -> str:
        """The same, begun so many characters before the end."""
        build = self.build
        places = build.constant(begin - 1 - np.arange(count))
        shape = build.op("Concat", build.op("Shape", self.length), build.constant([count]), axis=0)
        return self._number(build.op("Expand", places, shape), count)

    def _number(self, places: str, count: int) -> str:
        build = self.build
        # ONNX Runtime adds whole numbers up as doubles: four bytes at a time are exact.
        weights = build.constant([256 ** (i % 4) for i in range(count)])
        parts = build.op("Mul", self.at(places), weights)
        if count <= 4:
            return self._added(parts)
        low, high = (
            self._added(build.op("Slice", parts, *map(build.constant, ([a], [a + 4], [-1]))))
            for a in (0, 4)
        )
        return build.op("Add", low, _shifted(build, high, 32, "LEFT"))

    def _added(self, parts: str) -> str:
        total = self.build.reduce("ReduceSum", parts, [-1])
        return self.build.op("Cast", total, to=_UINT64)

    def multiplier(self) -> str:
        """``k2 + 2 * length``."""
        length = self.build.op("Cast", self.length, to=_UINT64)
        return self.build.op(
            "Add", self.build.op("Add", length, length), _constant(self.build, _K2)
        )


def _up_to_3(build: Builder, text: _Text) -> str:
    half = build.op("Div", text.length, build.constant(2))
    middle = build.op("Sub", build.op("Sub", text.length, build.constant(1)), half)
    second = build.squeeze(text.at(build.unsqueeze(middle, -1)), -1)
    second = build.op("Mul", build.op("Cast", second, to=_UINT64), _constant(build, 256))
    y = build.op("Add", text.from_start(0, 1), second)
    last = build.op("Mul", text.from_end(1, 1), _constant(build, 4))
    z = build.op("Add", build.op("Cast", text.length, to=_UINT64), last)
    y, z = (build.op("Mul", each, _constant(build, k)) for each, k in ((y, _K2), (z, _K0)))
    return build.op("Mul", _mixed(build, build.op("BitwiseXor", y, z)), _constant(build, _K2))


def _up_to_7(build: Builder, text: _Text) -> str:
    first = build.op("Mul", text.from_start(0, 4), _constant(build, 8))
    u = build.op("Add", build.op("Cast", text.length, to=_UINT64), first)
    return _joined(build, u, text.from_end(4, 4), text.multiplier())


def _up_to_16(build: Builder, text: _Text) -> str:
    multiplier = text.multiplier()
    a = build.op("Add", text.from_start(0, 8), _constant(build, _K2))
    b = text.from_end(8, 8)
    c = build.op("Add", build.op("Mul", _rotated(build, b, 37), multiplier), a)
    d = build.op("Mul", build.op("Add", _rotated(build, a, 25), b), multiplier)
    return _joined(build, c, d, multiplier)


def _up_to_32(build: Builder, text: _Text) -> str:
    multiplier = text.multiplier()
    a = build.op("Mul", text.from_start(0, 8), _constant(build, _K1))
    b = text.from_start(8, 8)
    c = build.op("Mul", text.from_end(8, 8), multiplier)
    d = build.op("Mul", text.from_end(16, 8), _constant(build, _K2))
    u = build.op("Add", _rotated(build, build.op("Add", a, b), 43), _rotated(build, c, 30))
    v = build.op("Add", a, _rotated(build, build.op("Add", b, _constant(build, _K2)), 18))
    return _joined(build, build.op("Add", u, d), build.op("Add", v, c), multiplier)


def _joined(build: Builder, u: str, v: str, multiplier: str) -> str:
    a = _mixed(build, build.op("Mul", build.op("BitwiseXor", u, v), multiplier))
    b = _mixed(build, build.op("Mul", build.op("BitwiseXor", v, a), multiplier))
    return build.op("Mul", b, multiplier)


def _mixed(build: Builder, bits: str) -> str:
    return build.op("BitwiseXor", bits, _shifted(build, bits, 47, "RIGHT"))


def _rotated(build: Builder, bits: str, by: int) -> str:
    low, high = _shifted(build, bits, by, "RIGHT"), _shifted(build, bits, 64 - by, "LEFT")
    return build.op("BitwiseXor", low, high)


def _shifted(build: Builder, bits: str, by: int, direction: str) -> str:
    return build.op("BitShift", bits, _constant(build, by), direction=direction)


def _constant(build: Builder, number: int) -> str:
    return build.constant(number, np.uint64)
