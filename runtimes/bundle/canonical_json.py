"""JSON that has one text for each value: RFC 8785, https://www.rfc-editor.org/rfc/rfc8785.

A manifest is read only in this form. So whatever two parsers could understand differently (keys
that stand twice, numbers beyond 2^53, escapes) has no place in it, and digests are of its bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

MOST_EXACT = 2**53 - 1
"""Up to here every JSON parser reads every integer exactly."""


def canonical(value: Any) -> bytes:
    """``value`` in UTF-8; raises ``ValueError`` for what JSON cannot hold exactly."""
    return _text(value).encode("utf-8")  # a lone surrogate is a UnicodeEncodeError, a ValueError


def parse_canonical(raw: bytes) -> Any:
    """The value of canonical JSON; raises ``ValueError`` for any other text."""
    try:
        value = json.loads(raw, parse_int=_integer)
        same = canonical(value) == raw
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not same:
        raise ValueError("it is not in the one form that a manifest has (RFC 8785)")
    return value


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("the keys of an object in JSON are text")
        pairs = (f"{_text(key)}:{_text(value[key])}" for key in sorted(value, key=_utf16))
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_text, value)) + "]"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, int) and not -MOST_EXACT <= value <= MOST_EXACT:
        raise ValueError(f"{str(value)[:40]} is beyond 2^53, where readers of JSON differ")
    if value is None or isinstance(value, bool | int | str):
        return json.dumps(value, ensure_ascii=False)
    raise ValueError(f"a {type(value).__name__} is no value of JSON")


def _integer(digits: str) -> int | float:
    """A number without a fraction: beyond 2^53 it is the double that ECMAScript reads."""
    value = int(digits)
    return value if -MOST_EXACT <= value <= MOST_EXACT else float(digits)


def _utf16(key: str) -> bytes:
    return key.encode("utf-16-be")


def _number(value: float) -> str:
    """A number as ECMAScript writes it: the shortest digits that give it back."""
    if not math.isfinite(value):
        raise ValueError(f"JSON has no {value}")
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    return ("-" if value < 0 else "") + _placed(digits, point)


def _placed(digits: str, point: int) -> str:
    """Digits with the decimal point after ``point`` of them, or with an exponent.

    https://tc39.es/ecma262/#sec-numeric-types-number-tostring
    """
    if len(digits) <= point <= 21:
        return digits.ljust(point, "0")
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{point - 1:+d}"
