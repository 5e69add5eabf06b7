"""Damaged models, data, stores and reports through every command: a clear line or a result.

    python benchmarks/fuzz.py [--count 10000] [--seed 0] [--seconds S] [--only COMMAND]...

Each trial damages one file of a small, valid set and runs a command on it, in a worker process with
at most 3 GB of address space beside what libraries map and 60 seconds of time. Right is an exit
code of 0 to 3 without a traceback, a signal or a hang. A finding is printed with its seed, which
alone repeats it: ``--seed N --count 1``. Prints totals by command and by exit code, and exits with
1 where something was found.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from fuzz_damage import DAMAGE
from fuzz_files import COMMANDS, make_files

_MEMORY_BYTES = 3_000_000_000
_SECONDS = 60
_BATCH = 50
_CODES = range(4)


def main() -> None:
    options = _options()
    totals: Counter[str] = Counter()
    end = time.monotonic() + options.seconds if options.seconds else None
    with tempfile.TemporaryDirectory(prefix="kilnx-fuzz-") as folder:
        root = Path(folder)
        make_files(root / "files")
        seed, last = options.seed, options.seed + options.count
        while seed < last and (end is None or time.monotonic() < end):
            seed = _batch(root, seed, min(last, seed + _BATCH), options.only, totals)
    for name, count in sorted(totals.items()):
        print(f"{name:40} {count:6}")
    wrong = sum(count for name, count in totals.items() if name.startswith("FOUND"))
    print(f"{seed - options.seed} trials, {wrong} findings")
    sys.exit(1 if wrong else 0)


def _batch(root: Path, first: int, stop: int, only: list[str], totals: Counter[str]) -> int:
    """Run trials in one worker; the next seed, which follows the one that killed it."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            _work(root, range(first, stop), only, write)
        finally:
            os._exit(0)
    os.close(write)
    begun = first
    with os.fdopen(read) as lines:
        for line in lines:
            kind, _, rest = line.rstrip("\n").partition(" ")
            if kind == "begin":
                begun = int(rest)
            else:
                totals[rest] += 1
                if rest.startswith("FOUND"):
                    print(f"seed {begun}: {rest}", flush=True)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 0:
        return stop
    found = f"FOUND {'hang' if code == -signal.SIGALRM else signal.Signals(-code).name}"
    totals[found] += 1
    print(f"seed {begun}: {found}", flush=True)
    return begun + 1


def _work(root: Path, seeds: range, only: list[str], pipe: int) -> None:
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + _MEMORY_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for seed in seeds:
        os.write(pipe, f"begin {seed}\n".encode())
        signal.alarm(_SECONDS)
        os.write(pipe, f"end {trial(root, seed, only)}\n".encode())
    signal.alarm(0)


def trial(root: Path, seed: int, only: list[str]) -> str:
    """Damage a file as ``seed`` says, run a command on it, and say how that went."""
    rng = random.Random(seed)
    folder = root / f"trial-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(root / "files", folder)
    os.chdir(folder)
    name, targets, arguments = rng.choice([c for c in COMMANDS if not only or c[0] in only])
    path = folder / rng.choice(targets)
    if path.is_dir():
        path = rng.choice(sorted(file for file in path.rglob("*") if file.is_file()))
    damage = rng.choice(DAMAGE[path.suffix if path.suffix in DAMAGE else ""])
    path.write_bytes(damage(path.read_bytes(), rng))
    result = _run(arguments)
    return f"FOUND {name}: {result}" if not result.startswith("exit ") else f"{name} {result}"


def _run(arguments: tuple[str, ...]) -> str:
    from converter.cli import app
    from converter.cli.console import run_cli

    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = run_cli(app, list(arguments))
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "/site-packages/" not in frame.filename] or frames
        where = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
        return f"{type(error).__name__} at {where}"
    if code not in _CODES or "Traceback" in out.getvalue():
        return f"wrong exit {code}"
    return f"exit {code}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, help="stop after this time")
    parser.add_argument("--only", action="append", default=[], help="a command; may be repeated")
    return parser.parse_args()


if __name__ == "__main__":
    main()
