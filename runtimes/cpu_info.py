"""What the system tells of the CPU."""

from __future__ import annotations

import os
from pathlib import Path


def own_cores() -> set[int] | None:
    """The cores that this process may use, by number; None where the system does not tell."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None


def cpu_info() -> dict[str, str]:
    """The fields of the first core in ``/proc/cpuinfo``; none on other systems."""
    told: dict[str, str] = {}
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                told.setdefault(name.strip(), value.strip())
    except OSError:
        return {}
    return told
