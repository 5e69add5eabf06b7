"""What is said of a model that is not valid."""

from __future__ import annotations

from typing import Any


class InvalidModel(ValueError):
    """What is wrong with a model and where, as the end of a sentence."""


def check_text(message: Any, *names: str) -> None:
    """Raise ``InvalidModel`` unless these fields, strings or lists of them, are UTF-8.

    The protobuf library gives the bytes of what is not.
    """
    for name in names:
        value = getattr(message, name)
        for text in (value,) if isinstance(value, str | bytes) else value:
            if isinstance(text, bytes):
                raise InvalidModel(f"it holds the name {text[:40]!r}, which is not UTF-8")


def check_entries(entries: Any) -> None:
    """``check_text`` of keys and values."""
    for entry in entries:
        check_text(entry, "key", "value")


def node_name(node: Any) -> str:
    """How messages call a node."""
    return f"node {shown(node.name)} ({shown(node.op_type)[1:-1]})"


def shown(text: str) -> str:
    """A name out of a file in quotes: on one line, and not too long."""
    return repr(text if len(text) <= 80 else f"{text[:77]}…")
