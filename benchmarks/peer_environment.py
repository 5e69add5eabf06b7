"""Virtual environments for the tools that kilnx is compared with, each made once."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path


def python_with(packages: Sequence[str], folder: Path) -> str:
    """The Python of the environment in ``folder``, which is made where it is not ready.

    It counts as ready once everything is installed: one that was interrupted is made anew.
    """
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        print(f"installing {', '.join(packages)} into {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "-q", *packages]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError((done.stderr.strip().splitlines() or ["pip failed"])[-1])
        ready.write_text(" ".join(packages), encoding="utf-8")
    return str(python)
