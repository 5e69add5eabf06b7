"""How the command line speaks: tables and JSON on stdout, errors on stderr."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converter.cli.plain_text import table_lines, wrapped, writable

if TYPE_CHECKING:
    import typer

INTERRUPTED = 130
DEFECT = 70
"""EX_SOFTWARE of sysexits.h: 1 says that a model was checked and failed, which is no defect."""

# Elsewhere than on a terminal tables may be so wide, and prose is not wrapped.
_WIDTH_OF_TABLES = 160


def run_cli(app: typer.Typer, arguments: Sequence[str] | None = None) -> int:
    """Run ``app``; its exit code: 0 done, 1 failed, 2 bad input, 3 no such runtime, 70 a defect."""
    import typer

    from runtimes.signals import exit_code, stopping_signals

    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the shell closed it
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    received: list[int] = []
    try:
        with stopping_signals() as received:
            result = app(arguments, prog_name="kilnx", standalone_mode=False)
            sys.stdout.flush()  # an error of the last write belongs to the command
        if result == INTERRUPTED:  # what Typer makes of Ctrl-C
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted; nothing was written incompletely")
        return exit_code(received)
    except BrokenPipeError:
        return _not_read()
    except SystemExit as ended:  # what Typer makes of a pipe that nobody reads
        if isinstance(ended.__context__, BrokenPipeError):
            return _not_read()
        raise
    except Exception as error:
        return _answer(error, debug=debug, as_json="--json" in arguments)


def _not_read() -> int:
    """The reader of our output went away: keep the interpreter from complaining at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())  # type: ignore[union-attr]
    return 0


def _answer(error: Exception, *, debug: bool, as_json: bool) -> int:
    """Say what went wrong, with ``--json`` as a document too; the exit code."""
    from runtimes.errors import KilnxError

    # Typer's usage errors know how to show themselves; their class is not public.
    show = getattr(error, "show", None)
    if show is not None:
        _suggest(error)
    message = _message(error) if show is None else str(error)
    code = error.exit_code if isinstance(error, KilnxError) else KilnxError.exit_code
    if message is None:
        code, message = _defect(error), f"{type(error).__name__}: {error}"
    elif show is not None:
        show()
    else:
        if debug:
            traceback.print_exception(error)
        complain(message)
    if as_json:
        kind = "Usage" if show is not None else "Defect" if code == DEFECT else type(error).__name__
        with suppress(OSError):  # standard output itself may be what failed
            print_json({"error": {"kind": kind, "message": message, "exit_code": code}})
            sys.stdout.flush()
    return code


def _suggest(error: Any) -> None:
    """Name the choice that was probably meant, which Typer does for commands and options only."""
    from runtimes.suggestions import did_you_mean

    said = str(getattr(error, "message", ""))
    found = re.search(r"'([^']*)' is not one of (.+)$", said)
    if found is not None:
        near = did_you_mean(found[1], re.findall(r"'([^']*)'", found[2]))
        error.message = said.rstrip(".") + near


def _defect(error: Exception) -> int:
    """Show an error that nobody expected; it is raised where kilnx's own tests are strict."""
    from runtimes.defects import STRICT

    if os.environ.get(STRICT):
        raise error
    traceback.print_exception(error)
    complain("this is a defect of kilnx; please report it with the traceback above")
    return DEFECT


def _message(error: Exception) -> str | None:
    """One line for an error that a user can fix; None for any other."""
    from runtimes.errors import KilnxError

    if isinstance(error, KilnxError):
        return str(error)
    if isinstance(error, MemoryError):
        return (
            f"there is not enough memory ({str(error) or 'an allocation failed'}); "
            "try fewer samples, a smaller batch or a larger machine"
        )
    if isinstance(error, OSError):  # what the system refuses is no defect of ours
        return _refused(error)
    return None


def _refused(error: OSError) -> str:
    """One line on an error of the operating system."""
    where = f"{error.filename}: " if error.filename else ""
    reason = " ".join(str(error.strerror or error).split())
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = where or "standard output or a temporary file: "
        reason = f"no space left; free some, or set TMPDIR to another disk ({reason})"
    return f"{where}{reason}"


def complain(message: str) -> None:
    """One error line on stderr."""
    with suppress(OSError, ValueError):  # nobody reads it; the exit code says it, too
        sys.stderr.write(writable(f"kilnx: error: {message}\n", sys.stderr))
        sys.stderr.flush()


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def print_rows(rows: Sequence[dict[str, str]], title: str | None = None) -> None:
    """A table of formatted cells on stdout; the first column is the row's name."""
    for line in table_lines(rows, _width(_WIDTH_OF_TABLES), title):
        _print(line)


def print_report(report: Any, *, place: Path | None = None, notes: Sequence[str]) -> None:
    """A report's headline, with the ``place`` of what was written before it, rows and notes."""
    print_line(report.headline() if place is None else f"{place}: {report.headline()}")
    print_rows(report.rows())
    for note in notes:
        print_line(f"note: {note}")


def print_line(text: str) -> None:
    """One line of prose on stdout, wrapped on a terminal."""
    for line in wrapped(text, _width(None)):
        _print(line)


def _width(elsewhere: int | None) -> int | None:
    """Columns of the terminal, or what is taken where there is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else elsewhere


def _print(line: str) -> None:
    sys.stdout.write(writable(line, sys.stdout) + "\n")
