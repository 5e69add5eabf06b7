"""What is alike in processes that kilnx starts: imports, how they ended, what they said last."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import BinaryIO

_ROOT = Path(__file__).resolve().parents[1]
_LONGEST_LINE = 200
_READ_BYTES = 4096


def python_path() -> str:
    """``PYTHONPATH`` for a process that imports the kilnx that runs here, from any folder."""
    given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return os.pathsep.join([str(_ROOT), *(str(Path(one).resolve()) for one in given)])


def signal_name(code: int) -> str:
    """The name of the signal that ended a process with the exit code ``code``, below zero."""
    try:
        return signal.Signals(-code).name
    except ValueError:  # one of those that have no name, such as real-time signals
        return f"signal {-code}"


def last_line(printed: BinaryIO) -> str:
    """The last line of what a process printed into a file; nothing if it printed nothing."""
    end = printed.seek(0, os.SEEK_END)
    printed.seek(max(0, end - _READ_BYTES))
    lines = printed.read().decode(errors="replace").strip().splitlines()
    return lines[-1][:_LONGEST_LINE] if lines else ""
