"""How the command line speaks: tables and JSON on stdout, progress and errors on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runtimes.progress import Progress, silent

if TYPE_CHECKING:
    import typer

INTERRUPTED = 130


def run_cli(app: typer.Typer, arguments: Sequence[str] | None = None) -> int:
    """Run ``app`` and return its exit code: 0 done, 1 failed, 2 bad input, 3 no such runtime."""
    import typer

    from runtimes.errors import KilnxError

    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        result = app(arguments, prog_name="kilnx", standalone_mode=False)
        if result == INTERRUPTED:  # what Typer makes of Ctrl-C
            complain("interrupted; nothing was written")
        return result if isinstance(result, int) else 0
    except KilnxError as error:
        if debug:
            raise
        complain(str(error))
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted; nothing was written")
        return INTERRUPTED
    except MemoryError as error:
        if debug:
            raise
        complain(
            f"there is not enough memory ({str(error) or 'an allocation failed'}); "
            "try fewer samples, a smaller batch or a larger machine"
        )
        return KilnxError.exit_code
    except BrokenPipeError:
        # The reader of our output went away: keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        # Typer's usage errors know how to show themselves; their class is not public.
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()
        return 2


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


@contextmanager
def progress() -> Iterator[Progress]:
    """Yield a function that says what is being done, live on a terminal and silent elsewhere."""
    if not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def say(stage: str, done: int | None = None, total: int | None = None) -> None:
            count = "" if done is None else f", {done}" + ("" if total is None else f" of {total}")
            bar.update(task, description=f"{stage}{count}")

        yield say
