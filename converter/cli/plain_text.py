"""Tables and prose as plain text: no word is broken, and any encoding can show it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TextIO

_BETWEEN = "  "

# What an ASCII terminal shows in place of what kilnx writes.
_ASCII = str.maketrans(
    {
        "×": "x",
        "→": "->",
        "≤": "<=",
        "≥": ">=",
        "±": "+/-",
        "…": "...",
        "–": "-",
        "−": "-",
        "·": "*",
        "²": "2",
        "µ": "u",
        "’": "'",
    }
)


def writable(text: str, stream: TextIO) -> str:
    """``text`` in characters that the encoding of ``stream`` has."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    return text


def wrapped(text: str, width: int | None) -> list[str]:
    """``text`` in lines of at most ``width`` columns, unless a word is longer."""
    if width is None:
        return text.splitlines() or [""]
    lines = []
    for line in text.splitlines() or [""]:
        lines += textwrap.wrap(
            line, width, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
        ) or [""]
    return lines


def table_lines(
    rows: Sequence[dict[str, str]], width: int | None, title: str | None = None
) -> Iterator[str]:
    """A table in lines: the first column to the left, the others to the right.

    Where all columns are wider than ``width``, those that do not fit follow in a table of their own
    below, behind the first column again.
    """
    if not rows:
        return
    if title:
        yield title
    first, *others = rows[0]
    widths = {
        column: max(len(column), *(len(row.get(column, "")) for row in rows)) for column in rows[0]
    }
    for number, some in enumerate(_groups(others, widths, first, width)):
        if number:
            yield ""
        for row in ({column: column for column in rows[0]}, *rows):
            cells = [row.get(first, "").ljust(widths[first])]
            cells += [row.get(column, "").rjust(widths[column]) for column in some]
            yield _BETWEEN.join(cells).rstrip()


def _groups(
    columns: Sequence[str], widths: dict[str, int], first: str, width: int | None
) -> Iterator[list[str]]:
    """The columns in groups, each of which fits next to the first one."""
    group: list[str] = []
    taken = widths[first]
    for column in columns:
        if width is not None and group and taken + len(_BETWEEN) + widths[column] > width:
            yield group
            group, taken = [], widths[first]
        group.append(column)
        taken += len(_BETWEEN) + widths[column]
    yield group
