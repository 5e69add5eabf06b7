"""A short run of ``benchmarks/fuzz.py``, which runs thousands of trials by itself."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[1] / "benchmarks" / "fuzz.py"
# Those that refuse or do a trial in well under a second.
COMMANDS = ("check", "check stored", "dedupe", "dedupe extract", "dedupe add", "profile", "prune")

pytestmark = pytest.mark.skipif(not FUZZ.exists(), reason="benchmarks are in the repository only")


def test_damaged_files_end_in_a_clear_line() -> None:
    only = [word for command in COMMANDS for word in ("--only", command)]
    ran = subprocess.run(
        [sys.executable, str(FUZZ), "--seed", "0", "--count", "40", *only],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    assert ran.stdout.splitlines()[-1] == "40 trials, 0 findings"
    codes = set(re.findall(r": exit (\d)", ran.stdout))
    assert codes >= {"0", "2"}, ran.stdout  # some damage is harmless, most is refused
