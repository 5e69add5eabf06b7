"""What is shown of a library's error."""

from __future__ import annotations

from runtimes.errors import first_line


def test_the_first_line_of_an_error_is_short_and_never_empty() -> None:
    assert first_line(ValueError("\n one \n two")) == "one"
    assert first_line(ValueError("   \n")) == "ValueError"
    assert first_line(KeyError()) == "KeyError"
    assert len(first_line(RuntimeError("x" * 5000))) == 300
