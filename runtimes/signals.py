"""SIGTERM and SIGHUP handled as Ctrl-C, and blocks of code that no signal interrupts."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def exit_code(received: list[int]) -> int:
    """What a shell reports for a program that a signal ended: 128 plus the signal's number."""
    return 128 + (received[-1] if received else signal.SIGINT)


@contextmanager
def stopping_signals() -> Iterator[list[int]]:
    """Raise ``KeyboardInterrupt`` for SIGTERM and SIGHUP too; yields the signals received.

    Whatever cleans up after Ctrl-C then also cleans up after these signals. A signal that the
    process was started to ignore (``nohup``) stays ignored. Does nothing outside the main thread.
    """
    received: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    with _handled((signal.SIGTERM, signal.SIGHUP), stop):
        yield received


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay signals that stop the program until the block is done.

    For steps that must not be separated, such as creating a file and recording that it has to be
    removed.
    """
    waiting: list[int] = []
    try:
        with _handled(_STOPPING, lambda number, _frame: waiting.append(number)):
            yield
    finally:
        for number in dict.fromkeys(waiting):
            signal.raise_signal(number)


@contextmanager
def _handled(numbers: tuple[signal.Signals, ...], handler: Any) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {}
    try:
        for number in numbers:
            # None: the handler was not installed from Python and could not be restored.
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                previous[number] = signal.signal(number, handler)
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
