"""JSON from the other side of a link, turned into dataclasses: every value has its type or none.

``read`` is the reverse of ``runtimes.json_values.plain`` for the types that messages are made of.
"""

from __future__ import annotations

import math
import re
import types
import typing
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar

T = TypeVar("T")

_LONGEST_TEXT = 32 * 2**20
_MOST_ITEMS = 200_000
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Malformed(ValueError):
    """A message that is not what the protocol says; the text says where and why."""


def read(kind: type[T], value: Any, where: str = "message") -> T:
    """``value`` as ``kind``; raises ``Malformed`` that names the place where it is not."""
    found: T = _read(kind, value, where)
    return found


def _read(kind: Any, value: Any, where: str) -> Any:
    if kind is Any:
        return value
    origin = typing.get_origin(kind)
    if origin is not None:
        return _composed(origin, typing.get_args(kind), value, where)
    return (_fields if is_dataclass(kind) else _plain)(kind, value, where)


def _composed(origin: Any, parts: tuple[Any, ...], value: Any, where: str) -> Any:
    if origin in (typing.Union, types.UnionType):
        return _one_of(parts, value, where)
    if origin is typing.Literal:
        return _chosen(parts, value, where)
    if origin is tuple:
        return _items(parts, value, where)
    return _mapping(parts[1], value, where)


def _plain(kind: Any, value: Any, where: str) -> Any:
    if kind is float and value is None:  # JSON has no NaN
        return math.nan
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return _float(value, where)
    if type(value) is not kind:
        raise Malformed(f"{where} is not {_named(kind)}")
    if kind is str:
        _check_text(value, where)
    if kind is float and not math.isfinite(value):
        raise Malformed(f"{where} is no finite number")
    return value


def _check_text(value: str, where: str) -> None:
    """No text is too long for memory, or tells a terminal what to do."""
    if len(value) > _LONGEST_TEXT:
        raise Malformed(f"{where} is too long")
    if _CONTROL.search(value):
        raise Malformed(f"{where} holds control characters")


def _float(value: int, where: str) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise Malformed(f"{where} is too large") from error


def _one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    rest = [kind for kind in kinds if kind is not type(None)]
    for kind in rest[:-1]:
        try:
            return _read(kind, value, where)
        except Malformed:
            continue
    return _read(rest[-1], value, where)


def _chosen(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    if not isinstance(value, str) or value not in choices:
        raise Malformed(f"{where} is not one of {', '.join(map(str, choices))}")
    return value


def _items(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list) or len(value) > _MOST_ITEMS:
        raise Malformed(f"{where} is not a list, or too long")
    if kinds[-1:] == (Ellipsis,):
        kinds = kinds[:1] * len(value)
    if len(kinds) != len(value):
        raise Malformed(f"{where} holds {len(value)} items, not {len(kinds)}")
    pairs = zip(kinds, value, strict=True)
    return tuple(_read(kind, one, f"{where}[{n}]") for n, (kind, one) in enumerate(pairs))


def _mapping(kind: Any, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > _MOST_ITEMS:
        raise Malformed(f"{where} is not an object, or too large")
    return {_plain(str, key, where): _read(kind, one, f"{where}.*") for key, one in value.items()}


def _fields(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise Malformed(f"{where} is not an object")
    hints = typing.get_type_hints(kind)
    known = {one.name: one for one in fields(kind) if one.init}
    if unknown := value.keys() - known.keys():
        raise Malformed(f"{where} has the unknown field {sorted(unknown)[0][:50]!r}")
    for name, one in known.items():
        if name not in value and one.default is MISSING and one.default_factory is MISSING:
            raise Malformed(f"{where} lacks {name}")
    return kind(**{key: _read(hints[key], one, f"{where}.{key}") for key, one in value.items()})


def _named(kind: Any) -> str:
    names = {str: "text", int: "an integer", float: "a number", bool: "true or false"}
    return names.get(kind, "what it should be")
