"""Reports that can be read: one line as text, a table in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from runtimes.json_values import plain


class ReadableReport:
    """What every report has beside its fields.

    A report says what it found in ``headline``, one line, and in ``rows``, the cells of a table by
    column. ``str`` of it is the headline, and a notebook shows the table under it.
    """

    def headline(self) -> str:
        """The outcome in one line."""
        raise NotImplementedError

    def rows(self) -> Sequence[dict[str, str]]:
        """Formatted cells by column, a row for each thing that the report tells of."""
        return ()

    def to_dict(self) -> dict[str, Any]:
        """The report in plain JSON types; a number that is not finite is null."""
        document: dict[str, Any] = plain(self)
        return document

    def __str__(self) -> str:
        return self.headline()

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{escape(str(note))}</li>" for note in getattr(self, "notes", ()))
        return (
            f"<p><b>{escape(self.headline())}</b></p>{html_table(self.rows())}"
            f"{f'<ul>{notes}</ul>' if notes else ''}"
        )


def times(ratio: float) -> str:
    """A ratio as ``1.23×``; one so small that this would be ``0.00×`` in two figures."""
    return f"{ratio:.2f}×" if ratio >= 0.095 or not ratio else f"{ratio:.2g}×"


def html_table(rows: Sequence[dict[str, str]]) -> str:
    """Cells by column as an HTML table; nothing where there are no rows."""
    if not rows:
        return ""
    head = "".join(f"<th>{escape(column)}</th>" for column in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(row.get(column, ''))}</td>" for column in rows[0]) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
