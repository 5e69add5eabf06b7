"""Processes that work on shards for the test that runs."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def workers_of_this_process() -> list[int]:
    """Process ids of the workers that this process started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            command = (status.parent / "cmdline").read_bytes()
            is_child = f"PPid:\t{os.getpid()}\n" in status.read_text()
            if is_child and b"runtimes.distributed.worker" in command:
                found.append(int(status.parent.name))
    return found
