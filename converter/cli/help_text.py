"""Help that reads well on 80 columns and on a pipe: no boxes, and whole sentences.

Rich draws tables whose last column, the help, is 18 characters wide there; what stands in brackets
it takes for markup.
"""

from __future__ import annotations

from typer.core import TyperCommand, TyperGroup


class _WholeSentence:
    """Described in lists by the first paragraph of its help, however long."""

    help: str | None

    def get_short_help_str(self, limit: int = 45) -> str:
        """The paragraph in a line."""
        return " ".join((self.help or "").strip().partition("\n\n")[0].split())


class Command(_WholeSentence, TyperCommand):
    """A command that the list of commands describes in a whole sentence."""


class Group(_WholeSentence, TyperGroup):
    """The same of commands that belong together."""
