"""Help of every command: it is printed, fits 80 columns, and cuts nothing off."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from converter.cli import app

COMMANDS: Any = typer.main.get_command(app)
NAMES = sorted(COMMANDS.commands)


def help_of(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments, "--help"], terminal_width=80)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("name", NAMES)
def test_options_are_told_in_words_and_fit(name: str) -> None:
    text = help_of(name)
    assert max(map(len, text.splitlines())) <= 80
    assert not re.search(r"--\S+ <list\[", text)
    plain = " ".join(text.split())
    for option in getattr(COMMANDS.commands[name], "params", ()):
        if option.name in {"help", "model"} or not getattr(option, "help", None):
            continue
        assert " ".join(option.help.split())[:40].rsplit(" ", 1)[0] in plain, option.name
        for called in getattr(option, "opts", ()):
            assert called in text or option.param_type_name == "argument", called


def test_commands_are_described_in_whole_sentences() -> None:
    text = help_of()
    assert "..." not in text.partition("Commands:")[2]
    assert max(map(len, text.splitlines())) <= 80
