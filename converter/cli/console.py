"""How the command line speaks: tables and JSON on stdout, errors on stderr."""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

INTERRUPTED = 130
DEFECT = 70
"""EX_SOFTWARE of sysexits.h: 1 says that a model was checked and failed, which is no defect."""


def run_cli(app: typer.Typer, arguments: Sequence[str] | None = None) -> int:
    """Run ``app``; its exit code: 0 done, 1 failed, 2 bad input, 3 no such runtime, 70 a defect."""
    import typer

    from runtimes.errors import KilnxError
    from runtimes.signals import exit_code, stopping_signals

    arguments = list(sys.argv[1:] if arguments is None else arguments)
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
        # The reader of our output went away: keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        # Typer's usage errors know how to show themselves; their class is not public.
        show = getattr(error, "show", None)
        message = _message(error)
        if show is not None:
            show()
        elif message is None:
            return _defect(error)
        else:
            if debug:
                traceback.print_exception(error)
            complain(message)
        return error.exit_code if isinstance(error, KilnxError) else KilnxError.exit_code


def _defect(error: Exception) -> int:
    """Show an error that nobody expected; it is raised where kilnx's own tests are strict."""
    from runtimes.defects import STRICT

    if os.environ.get(STRICT):
        raise error
    traceback.print_exception(error)
    complain("this is a defect of kilnx; please report it with the traceback above")
    return DEFECT


def _message(error: Exception) -> str | None:
    """One line for an error that a user can mend; None for any other."""
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
    sys.stderr.write(f"kilnx: error: {message}\n")


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def print_rows(rows: Sequence[dict[str, str]], title: str | None = None) -> None:
    """A table of formatted cells on stdout; the first column is the row's name."""
    from rich.console import Console
    from rich.table import Table

    if not rows:
        return
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(rows[0]):
        table.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(row.get(column, "") for column in rows[0]))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def print_line(text: str) -> None:
    """One line of prose on stdout, wrapped on a terminal."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 10_000).print(
        text, markup=False, highlight=False
    )
