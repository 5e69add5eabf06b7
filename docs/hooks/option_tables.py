"""MkDocs hook: ``<!-- options: COMMAND -->`` becomes the table of that command's options.

The table comes from the command line itself, so it cannot fall behind.
"""

from __future__ import annotations

import re
from typing import Any

_MARK = re.compile(r"^<!-- options: ([\w ]+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs with the source of each page."""
    return _MARK.sub(lambda found: option_table(found[1]), markdown)


def option_table(name: str) -> str:
    """Arguments and options of the command ``name`` as a table in Markdown."""
    import typer.main

    from converter.cli import app

    command: Any = typer.main.get_command(app)
    for part in name.split():
        command = command.commands[part]
    rows = [_row(parameter) for parameter in command.params]
    return "\n".join(("| argument or option | default | what it is |", "|---|---|---|", *rows))


def _row(parameter: Any) -> str:
    positional = parameter.param_type_name == "argument"
    names = [parameter.name.upper()] if positional else parameter.opts
    shown = ", ".join(f"`{name}`" for name in names)
    text = " ".join((getattr(parameter, "help", None) or "").split())
    return f"| {shown} | {_default(parameter)} | {text.replace('|', '&#124;')} |"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):  # said in words: without it, the user gave none
        return f"`{parameter.show_default}`"
    value = parameter.default
    if value is None or value is False or value == () or callable(value):
        return ""
    return f"`{value}`"
