"""Protobuf's text format, for messages given as plain values.

https://protobuf.dev/reference/protobuf/textformat-spec/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Message = Mapping[str, Any]
"""A message by field; a list is a repeated field, and a mapping in it one message."""


@dataclass(frozen=True)
class Enum:
    """A value of an enumeration, which stands without quotes."""

    name: str


def protobuf_text(message: Message, comment: str = "") -> str:
    """The message as text, below ``comment`` (plain text, of any number of lines)."""
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    return head + "".join(f"{line}\n" for line in _fields(message))


def map_entries(values: Mapping[str, Any]) -> list[Message]:
    """A map field: one message of key and value an entry."""
    return [{"key": key, "value": value} for key, value in values.items()]


def _fields(message: Message) -> Iterator[str]:
    for name, value in message.items():
        for item in value if isinstance(value, list | tuple) else (value,):
            yield from _field(name, item)


def _field(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{name}: {_scalar(value)}"
        return
    yield f"{name} {{"
    yield from (f"  {line}" for line in _fields(value))
    yield "}"


def _scalar(value: Any) -> str:
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return f'"{"".join(map(_escaped, value.encode()))}"'
    raise TypeError(f"{value!r} has no form in a message")


def _escaped(byte: int) -> str:
    """A byte of a string; three octal digits, so that a digit behind them is not taken in."""
    if byte in b'"\\':
        return f"\\{chr(byte)}"
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}"
