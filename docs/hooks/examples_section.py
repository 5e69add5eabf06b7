"""Griffe extension: a section ``Example:`` of a docstring is shown as code, like ``Examples:``."""

from __future__ import annotations

import re
from typing import Any

import griffe


class ExamplesSection(griffe.Extension):
    """Renames the section before Griffe parses the docstring, which knows the plural only."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by Griffe with everything that it has read."""
        if obj.docstring:
            value = obj.docstring.value
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", value, flags=re.MULTILINE)
