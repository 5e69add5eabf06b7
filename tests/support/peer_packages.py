"""Packages of others that judge what kilnx writes, each apart from this environment."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

PEERS = "KILNX_TEST_PEERS"
"""The variable that names the folder where they stay; else they are installed for each session."""


def installed(name: str, *packages: str, dependencies: bool = False) -> Path:
    """The folder ``name`` with ``packages`` in it; skips the test if no index can be reached."""
    root = Path(os.environ.get(PEERS) or tempfile.gettempdir(), "kilnx-test-peers", name)
    ready = root / "ready"
    if not ready.exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(root)]
        options = [] if dependencies else ["--no-deps"]
        done = subprocess.run(
            [*command, *options, *packages], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"{', '.join(packages)} cannot be installed: {done.stderr[-200:]}")
        ready.touch()
    return root
