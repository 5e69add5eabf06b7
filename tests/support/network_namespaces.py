"""Two networks with a cable between them, for tests of what crosses from machine to machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

FIRST, SECOND = "10.213.7.1", "10.213.7.2"


@pytest.fixture
def namespaces() -> Iterator[tuple[str, str]]:
    """Two networks with a cable between them, ``k0`` in the one and ``k1`` in the other."""
    ip = shutil.which("ip")
    names = (f"kilnxa{os.getpid()}", f"kilnxb{os.getpid()}")
    if ip is None:
        pytest.skip("there is no ip that makes network namespaces")
    made = [
        ("netns", "add", names[0]),
        ("netns", "add", names[1]),
        ("link", "add", "k0", "netns", names[0], "type", "veth", "peer", "k1", "netns", names[1]),
        ("-n", names[0], "addr", "add", f"{FIRST}/24", "dev", "k0"),
        ("-n", names[1], "addr", "add", f"{SECOND}/24", "dev", "k1"),
        ("-n", names[0], "link", "set", "k0", "up"),
        ("-n", names[1], "link", "set", "k1", "up"),
    ]
    try:
        for one in made:
            done = subprocess.run([ip, *one], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"network namespaces cannot be made here: {done.stderr.strip()}")
        yield names
    finally:
        for name in names:
            subprocess.run([ip, "netns", "del", name], capture_output=True, check=False)
