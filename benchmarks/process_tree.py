"""What a process and everything that it started have used, from ``/proc``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(root: int) -> float:
    """CPU seconds, user and system, of ``root`` and all below it, ended children included.

    The fields ``utime``, ``stime``, ``cutime`` and ``cstime`` of
    https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html. A child that ended and was waited
    for counts in its parent's ``cutime``, one that lives in its own ``utime``: none counts twice.
    """
    return sum(sum(map(int, fields[11:15])) for _, fields in _family(root)) / _TICKS


def resident_bytes(root: int) -> int:
    """Resident memory; pages that several processes share count once for each."""
    return sum(int(fields[21]) for _, fields in _family(root)) * _PAGE


def private_bytes(root: int) -> int:
    """Memory that would be free if all of them ended: pages shared among them are split."""
    return sum(_proportional(pid) for pid, _ in _family(root))


def open_files(root: int) -> int:
    """File descriptors, sockets included."""
    return sum(_descriptors(pid) for pid, _ in _family(root))


def _family(root: int) -> Iterator[tuple[int, list[str]]]:
    """Process id and fields after the name, of ``root``, its descendants, and its session.

    A helper whose parent ended belongs to another process by now, but still to the session that
    ``root`` leads.
    """
    every = dict(_every_process())
    for pid, fields in every.items():
        if pid == root or int(fields[3]) == root or _descends(pid, root, every):
            yield pid, fields


def _every_process() -> Iterator[tuple[int, list[str]]]:
    for entry in _PROC.glob("[0-9]*/stat"):
        try:
            text = entry.read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
        # The program's name stands in parentheses and may hold anything.
        yield int(entry.parent.name), text.rpartition(")")[2].split()


def _descends(pid: int, root: int, every: dict[int, list[str]]) -> bool:
    while pid in every:
        pid = int(every[pid][1])
        if pid == root:
            return True
    return False


def _proportional(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def _descriptors(pid: int) -> int:
    try:
        return len(list((_PROC / str(pid) / "fd").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return 0
