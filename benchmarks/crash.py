"""What is left when a command dies: the user's files whole, outputs whole or absent.

    python benchmarks/crash.py [--trials 100] [--seed 0] [--only COMMAND]... [--skip-keras]

Runs every command again and again in a child process and stops it: with ``kill -9`` and with
SIGINT, SIGTERM and SIGHUP at random moments, at each of its writes by a disk that is full there,
and on disks of many sizes (tmpfs, where mounting is allowed). Also runs each command twice at once
with one output. After each trial: every file that was there before is unchanged (an output of ours
that is replaced may be the new one), what is written is whole, and no hidden folder stays: after a
signal at once, after ``kill -9`` when the next command writes there. Prints one line a command and
kind of trial, and exits with 1 where something was found.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from crash_cases import CASES, Case, make_files
from crash_faults import count_writes, fail_at
from fuzz import cut_timings_short

from runtimes.atomic_files import atomic_file
from runtimes.weight_store.files import only_writer

STOPPED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DONE = (0, 1, 2, 3)
_LIMIT_SECONDS = 300


def main() -> None:
    options = _options()
    preload(keras=not options.skip_keras)
    cut_timings_short()
    rng = random.Random(options.seed)
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="kilnx-crash-") as folder:
        root = Path(folder)
        make_files(root / "files", keras=not options.skip_keras)
        for case in CASES:
            if options.only and case.name not in options.only:
                continue
            if case.keras and options.skip_keras:
                continue
            for kind, trials in KINDS.items():
                if options.kinds and kind not in options.kinds:
                    continue
                start = time.perf_counter()
                faults = Counter(trials(Bench(root, case, rng), options.trials))
                total = faults.total()
                wrong = {fault: count for fault, count in faults.items() if fault}
                found.update(wrong)
                seconds = time.perf_counter() - start
                print(f"{case.name:16} {kind:8} {total:5} trials, {seconds:6.1f} s", end="")
                print(f"  {wrong or 'ok'}", flush=True)
    print(f"{found.total()} faults" if found else "no fault")
    sys.exit(1 if found else 0)


def preload(*, keras: bool) -> None:
    """Import here what every child needs; nothing runs, for threads do not outlive a fork."""
    names = ["converter.cli", "converter.compression.compress", "quantizers", "onnxruntime"]
    for name in [*names, *(("tensorflow", "keras", "tf2onnx") if keras else ())]:
        importlib.import_module(name)


class Bench:
    """One command, run in a fresh copy of the user's files each time."""

    def __init__(self, root: Path, case: Case, rng: random.Random) -> None:
        self.case, self.rng = case, rng
        self.source = root / "files"
        self.place = root / "place"
        self.seconds = 0.0
        for replaced in (False, True):  # the second time is warm, and tells how long it takes
            self.fresh(replaced=replaced)
            begin = time.perf_counter()
            code = self.wait(self.start())
            self.seconds = time.perf_counter() - begin
            if code not in DONE or self.fault(code, strict=True):
                raise SystemExit(f"{case.name}: {code} {self.fault(code, strict=True)}\n{self.err}")

    def fresh(self, place: Path | None = None, *, replaced: bool | None = None) -> None:
        """Lay out the files of a trial; half of the trials find an older output."""
        self.at = place or self.place
        shutil.rmtree(self.place, ignore_errors=True)
        if place is None:
            self.place.mkdir()
        shutil.copytree(self.source, self.at / "user", symlinks=True)
        (self.at / "tmp").mkdir()
        self.external = self.rng.random() < 0.3
        replaced = self.rng.random() < 0.5 if replaced is None else replaced
        self.arguments = list(self.case.arguments)
        if replaced and self.case.output.startswith("out"):
            older = self.at / "user" / "older" / self.case.kind
            shutil.copytree(older, self.at / "user", dirs_exist_ok=True)
            self.arguments.append("--force")
        shutil.rmtree(self.at / "user" / "older")
        self.before = contents(self.at / "user")

    def start(self, fault: Callable[[], object] | None = None) -> int:
        """Run the command in a child process; its number."""
        child = os.fork()
        if child:
            return child
        code = 99
        try:
            os.setsid()
            os.chdir(self.at / "user")
            tempfile.tempdir = os.environ["TMPDIR"] = str(self.at / "tmp")
            log = os.open(self.at.parent / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for stream in (1, 2):
                os.dup2(log, stream)
            code = self.case.run(self.arguments, external=self.external, fault=fault)
            sys.stdout.flush()
        finally:
            os._exit(code)

    def wait(self, child: int, seconds: float = _LIMIT_SECONDS) -> int:
        """The exit code of a child, negative for a signal."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise SystemExit(f"{self.case.name} hangs: {self.arguments}")

    @property
    def err(self) -> str:
        """The end of what the last command said."""
        return (self.at.parent / "log").read_text(errors="replace")[-2000:]

    def fault(self, code: int, *, strict: bool) -> str:
        """What is wrong with what a trial left; ``strict``: no hidden folder may be left."""
        if "Traceback" in self.err:
            return f"traceback: {self.err.splitlines()[-1]}"
        after = contents(self.at / "user")
        outputs = self.case.outputs
        changed = [
            name
            for name, content in self.before.items()
            if after.get(name) != content and not name.startswith(outputs)
        ]
        if changed:
            return f"changed: {changed[0]}"
        hidden = [name for name in after if ".kilnx-" in name or ".writing-" in name]
        scratch = [p.name for p in (self.at / "tmp").iterdir() if p.name.startswith(".kilnx-")]
        if strict and (hidden or scratch):
            return f"left: {(hidden + scratch)[0]}"
        new = [n for n in after if n not in self.before and n not in hidden]
        stray = [name for name in new if not name.startswith(outputs)]
        if stray:
            return f"stray: {stray[0]}"
        return self.case.broken(self.at / "user", self.before, after, code)

    def cleaned(self) -> str:
        """What is left after the next command has written in the same places."""
        store = self.at / "user" / self.case.output
        if self.case.kind == "store" and store.is_dir():
            with only_writer(store):
                pass
        for folder in (self.at / "user", self.at / "tmp"):
            with atomic_file(folder / "next.onnx") as work:
                work.touch()
            (folder / "next.onnx").unlink()
        left = [p for f in ("user", "tmp") for p in (self.at / f).rglob(".kilnx-*")]
        return f"piled up: {left[0].name}" if left else ""


def contents(folder: Path) -> dict[str, bytes]:
    """Every file and link in a folder, by its path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = str(path.readlink()).encode()
        elif path.is_file():
            found[name] = path.read_bytes()
        elif not any(path.iterdir()):
            found[f"{name}/"] = b""
    return found


def killed(bench: Bench, trials: int) -> Iterator[str]:
    """``kill -9`` at a random moment."""
    for _ in range(trials):
        bench.fresh()
        child = bench.start()
        time.sleep(bench.rng.uniform(0, 1.05 * bench.seconds))
        os.kill(child, signal.SIGKILL)
        code = bench.wait(child)
        yield bench.fault(code, strict=False) or bench.cleaned() or bench.fault(code, strict=True)


def stopped(bench: Bench, trials: int) -> Iterator[str]:
    """A signal that asks to stop: everything is cleaned up, and the exit code says which."""
    for trial in range(max(1, trials // 2)):
        bench.fresh()
        number = STOPPED[trial % len(STOPPED)]
        child = bench.start()
        time.sleep(bench.rng.uniform(0.1, 1.0) * bench.seconds)
        os.kill(child, number)
        code = bench.wait(child)
        early = code == -number  # before the command line could take it
        if code not in {*DONE, 128 + number} and not early:
            yield f"exit {code} after {number.name}: {bench.err[-200:]}"
        else:
            yield bench.fault(code, strict=True)


def full(bench: Bench, trials: int) -> Iterator[str]:
    """No space at the first write, at the second, and so on to the last (``trials`` of them)."""
    bench.fresh()
    writes = count_writes(bench.at.parent / "writes", bench)
    chosen = range(writes) if writes <= trials else sorted(bench.rng.sample(range(writes), trials))
    for number in chosen:
        bench.fresh()
        code = bench.wait(bench.start(lambda number=number: fail_at(number)))
        if code not in DONE:
            yield f"exit {code}: {bench.err[-300:]}"
        else:
            yield bench.fault(code, strict=True)


def small(bench: Bench, trials: int) -> Iterator[str]:
    """Disks of many sizes, the smallest with room for the user's files only."""
    bench.fresh()
    needed = sum(map(len, bench.before.values()))
    for trial in range(max(1, trials // 4)):
        room = int(needed + (trial + bench.rng.random()) * 4 * needed / max(1, trials // 4))
        disk = bench.place.parent / "disk"
        disk.mkdir(exist_ok=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={room + 65_536}", "tmpfs", str(disk)]
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            return  # not allowed here
        try:
            bench.fresh(disk)
            code = bench.wait(bench.start())
            if code not in DONE:
                yield f"exit {code} on {room} bytes: {bench.err[-300:]}"
            else:
                yield bench.fault(code, strict=True)
        except OSError:  # no room for the user's files themselves
            continue
        finally:
            subprocess.run(["umount", str(disk)], check=True)


def twice(bench: Bench, trials: int) -> Iterator[str]:
    """Two runs at once that write to one place."""
    for _ in range(max(1, trials // 4)):
        bench.fresh()
        first = bench.start()
        time.sleep(bench.rng.uniform(0, 0.5) * bench.seconds)
        codes = [bench.wait(child) for child in (first, bench.start())]
        if any(code not in DONE for code in codes):
            yield f"exit {codes}: {bench.err[-300:]}"
        else:
            yield bench.fault(min(codes), strict=True)


KINDS = {"killed": killed, "stopped": stopped, "full": full, "small": small, "twice": twice}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", help="a command; may be repeated")
    parser.add_argument("--kinds", action="append", choices=list(KINDS))
    parser.add_argument("--skip-keras", action="store_true", help="leave convert out")
    return parser.parse_args()


if __name__ == "__main__":
    main()
