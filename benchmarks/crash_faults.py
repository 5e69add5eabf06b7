"""A disk that is full at one write: every call that writes is counted, and one of them fails."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

# Calls that need space: for bytes, a name or a folder.
_CALLS = ("write", "fsync", "replace", "rename", "mkdir", "link")
_WRITING = set("wax+")


class Child(Protocol):
    """What starts and awaits a command in a child process."""

    def start(self, fault: Callable[[], object]) -> int:
        """Run ``fault`` and the command; the number of the process."""

    def wait(self, child: int) -> int:
        """Its exit code."""


def fail_at(number: int) -> None:
    """From here on, let write ``number`` of this process, the first is 0, find no space."""
    _install(_Writes(number, None))


def count_writes(report: Path, child: Child) -> int:
    """How many writes the command that ``child`` starts makes."""
    report.write_text("0")
    child.wait(child.start(lambda: _install(_Writes(None, report))))
    return int(report.read_text())


class _Writes:
    def __init__(self, failing: int | None, report: Path | None) -> None:
        self.failing, self.count = failing, 0
        self.report = None if report is None else os.open(report, os.O_WRONLY)

    def one(self, *, lasting: bool = True) -> None:
        """Count a write; what is full stays full, but names can be taken back (not lasting)."""
        self.count += 1
        if self.report is not None:
            os.pwrite(self.report, str(self.count).encode(), 0)
        if self.failing is None or self.count <= self.failing:
            return
        if lasting or self.count == self.failing + 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _install(writes: _Writes) -> None:
    for name in _CALLS:
        renames = name in {"replace", "rename"}
        setattr(os, name, _counted(writes, getattr(os, name), renames=renames))
    original = os.open

    def os_open(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        if flags & os.O_CREAT:
            writes.one()
        return original(path, flags, *rest, **options)

    os.open = os_open

    class Raw(io.FileIO):
        def write(self, data: Any) -> int:
            writes.one()
            return super().write(data) or 0

    opened = io.open

    def counting_open(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **more: Any):
        if isinstance(file, int) or not _WRITING & set(mode):
            return opened(file, mode, buffering, *rest, **more)
        writes.one()
        raw = Raw(os.fspath(file), mode.replace("b", "").replace("t", ""))
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        if "b" in mode:
            return buffered if buffering else raw
        return io.TextIOWrapper(buffered, encoding=more.get("encoding"), newline="")

    io.open = builtins.open = counting_open  # type: ignore[assignment]


def _counted(writes: _Writes, original: Callable[..., Any], *, renames: bool) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        writes.one(lasting=not renames)
        return original(*arguments, **options)

    return call
