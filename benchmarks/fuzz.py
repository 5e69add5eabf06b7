"""Damaged models, data, stores and reports through every command: a clear line or a result.

    python benchmarks/fuzz.py [--count 10000] [--seed 0] [--seconds S] [--only COMMAND]...

Each trial damages one file of a small, valid set and runs a command on it, in a worker process with
at most 3 GB of address space beside what libraries map and 60 seconds of time. Right is an exit
code of 0 to 3 without a traceback, a signal or a hang. A finding is printed with its seed, which
alone (with ``--only`` as it was) repeats it: ``--seed N --count 1``. Timings are cut short, for no
trial looks at them. Prints totals by command and by exit code, and exits with 1 where something was
found.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import importlib
import io
import json
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
from functools import cache
from pathlib import Path
from typing import Any

from fuzz_damage import damage
from fuzz_files import COMMANDS, make_files

_MEMORY_BYTES = 3_000_000_000
_SECONDS = 60
_BATCH = 250
_CODES = range(4)


def main() -> None:
    options = _options()
    totals: Counter[str] = Counter()
    cut_timings_short()
    with tempfile.TemporaryDirectory(prefix="kilnx-fuzz-") as folder:
        root = Path(folder)
        make_files(root / "files")
        end = time.monotonic() + options.seconds if options.seconds else None
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
    log = root / "log"
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            _work(root, range(first, stop), only, write, log)
        finally:
            os._exit(0)
    os.close(write)
    begun = first
    with os.fdopen(read) as lines:
        for line in lines:
            kind, result, text = json.loads(line)
            if kind == "begin":
                begun = result
                continue
            totals[result] += 1
            if text:
                print(f"seed {begun}: {result}\n{text}", flush=True)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 0:
        return stop
    found = f"FOUND {'hang' if code > 0 else signal.Signals(-code).name}"
    totals[found] += 1
    print(f"seed {begun}: {found}\n{log.read_text()[-3000:]}", flush=True)
    return begun + 1


def _work(root: Path, seeds: range, only: list[str], pipe: int, log: Path) -> None:
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + _MEMORY_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with log.open("w") as file:
        faulthandler.enable(file)
        for seed in seeds:
            _send(pipe, "begin", seed, "")
            faulthandler.dump_traceback_later(_SECONDS, exit=True, file=file)
            _send(pipe, "end", *trial(root, seed, only))
        faulthandler.cancel_dump_traceback_later()
        faulthandler.disable()


def _send(pipe: int, *message: object) -> None:
    os.write(pipe, f"{json.dumps(message)}\n".encode())


def cut_timings_short() -> None:
    """Let ``profile`` measure once where it would for a second, to learn what nobody asks here."""
    module = importlib.import_module("runtimes.profiling.profile")
    interleave = module.interleave

    def once(calls: Any, **options: Any) -> Any:
        return interleave(calls, **{**options, "min_time": 0.0, "max_time": 0.0})

    module.interleave = once
    module._LAUNCHES = module._MAX_LAUNCHES = module._MIN_LAUNCHES


def trial(root: Path, seed: int, only: list[str]) -> tuple[str, str]:
    """Damage a file as ``seed`` says and run a command on it: how that went, and what was wrong."""
    rng = random.Random(seed)
    folder = root / f"trial-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(root / "files", folder)
    os.chdir(folder)
    name, targets, arguments = rng.choice([c for c in COMMANDS if not only or c[0] in only])
    damage(folder / rng.choice(targets), rng)
    result, text = run(arguments)
    return (f"FOUND {name}: {result}" if text else f"{name}: {result}"), text


def run(arguments: tuple[str, ...]) -> tuple[str, str]:
    """The exit code of a command in this process, or its error; and what it said if it is wrong."""
    from converter.cli.console import run_cli

    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = run_cli(_command_line(), list(arguments))
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "/site-packages/" not in frame.filename] or frames
        where = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
        text = "".join(traceback.format_exception(error))
        return f"{type(error).__name__} at {where}", text[-2500:]
    said = out.getvalue()
    wrong = code not in _CODES or "Traceback" in said or (code != 0 and _speechless(said))
    return f"exit {code}", said[-2500:] or "(nothing)" if wrong else ""


def _speechless(said: str) -> bool:
    """Whether no line says why: an error is one line, a verdict is a table with what failed."""
    return not said.strip()


@cache
def _command_line() -> Any:
    """The commands as one object, made once: making it takes longer than refusing a file."""
    import typer.main

    from converter.cli import app

    return typer.main.get_command(app)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, help="stop after this time, in whole batches")
    parser.add_argument("--only", action="append", default=[], help="a command; may be repeated")
    return parser.parse_args()


if __name__ == "__main__":
    main()
