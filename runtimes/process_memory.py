"""The most memory that a process and its children have had resident."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")


def peak_bytes(pid: int | None = None) -> int | None:
    """Peak resident bytes of a process and of all below it; None where the kernel tells none.

    An engine may run in a process of its own below, as those of Node do. Pages that both have are
    counted twice, which is little.
    """
    every = _family(os.getpid() if pid is None else pid)
    found = [peak for one in every if (peak := own_peak_bytes(one)) is not None]
    return sum(found) if found else None


def own_peak_bytes(pid: int | None = None) -> int | None:
    """Peak resident bytes of a process alone; None where the kernel tells none.

    ``VmHWM`` of https://man7.org/linux/man-pages/man5/proc_pid_status.5.html. Not getrusage: its
    peak includes the process before exec, and so the parent's memory.
    """
    pid = os.getpid() if pid is None else pid
    try:
        lines = (_PROC / str(pid) / "status").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), None)


def _family(pid: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for entry in _PROC.glob("[0-9]*/stat"):
        try:
            # The name of the program stands in parentheses and may hold anything.
            parent = int(
                entry.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1]
            )
        except (OSError, ValueError, IndexError):  # it ended meanwhile
            continue
        children.setdefault(parent, []).append(int(entry.parent.name))
    pending = [pid]
    while pending:
        one = pending.pop()
        yield one
        pending += children.get(one, ())
