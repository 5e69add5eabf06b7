"""Help that reads well on 80 columns and on a pipe: no boxes, and whole sentences.

Rich draws tables whose last column, the help, is 18 characters wide there; what stands in brackets
it takes for markup.
"""

from __future__ import annotations

from typer.core import TyperCommand, TyperGroup


class Command(TyperCommand):
    """A command that the list of commands describes in a whole sentence."""

    def get_short_help_str(self, limit: int = 45) -> str:
        """The first paragraph of the help, however long."""
        return _first_paragraph(self.help)


class Group(TyperGroup):
    """The same of commands that belong together."""

    def get_short_help_str(self, limit: int = 45) -> str:
        """The first paragraph of the help, however long."""
        return _first_paragraph(self.help)


def _first_paragraph(text: str | None) -> str:
    return " ".join((text or "").strip().partition("\n\n")[0].split())
