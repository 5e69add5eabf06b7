"""A progress bar in a notebook, where IPython is there already; nothing is imported for it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from html import escape
from typing import Any

from runtimes.progress import Clock, Progress, duration

_SECONDS_BETWEEN = 0.2

# A function that calls another one shows one bar, its own.
_shown: ContextVar[bool] = ContextVar("shown", default=False)


@contextmanager
def notebook_bar(function: str) -> Iterator[Progress | None]:
    """Show a bar while ``function`` runs in a notebook, and then how long it took; else None."""
    show = None if _shown.get() else _display()
    if show is None:
        yield None
        return
    clock, drawn = Clock(), 0.0
    token = _shown.set(True)

    def tell(stage: str, done: int | None = None, total: int | None = None) -> None:
        nonlocal drawn
        begins = clock.tell(stage, done, total)
        if begins or time.monotonic() - drawn > _SECONDS_BETWEEN:
            show(_bar(clock))
            drawn = time.monotonic()

    try:
        yield tell
        show(f"<p>{escape(function)} took {duration(clock.elapsed())}</p>")
    finally:
        _shown.reset(token)


def _bar(clock: Clock) -> str:
    share = f' value="{clock.done}" max="{clock.total}"' if clock.total else ""
    text = f"{clock} ({duration(clock.elapsed())})"
    return f'<label>{escape(text)}<br><progress style="width:20em"{share}></progress></label>'


def _display() -> Callable[[str], None] | None:
    """What shows HTML in one place of the notebook, over and over; None outside a notebook."""
    ipython = sys.modules.get("IPython")
    shell: Any = None if ipython is None else ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import HTML, display

    handle: Any = None

    def show(html: str) -> None:
        nonlocal handle
        if handle is None:
            handle = display(HTML(html), display_id=True)
        else:
            handle.update(HTML(html))

    return show
