"""Reports that print well: one line as text, a table in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from runtimes.json_values import plain


class ReadableReport:
    """What every report has in addition to its fields.

    ``headline`` sums up the outcome in one line, and ``rows`` holds the cells of a table by column.
    ``str(report)`` is the headline; a notebook also shows the table under it.
    """

    def headline(self) -> str:
        """The outcome in one line."""
        raise NotImplementedError

    def rows(self) -> Sequence[dict[str, str]]:
        """Formatted cells by column, one row for each item in the report."""
        return ()

    def to_dict(self) -> dict[str, Any]:
        """The report in plain JSON types; NaN and infinity become null."""
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
    """Cells by column as an HTML table; an empty string if there are no rows."""
    if not rows:
        return ""
    head = "".join(f"<th>{escape(column)}</th>" for column in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(row.get(column, ''))}</td>" for column in rows[0]) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
