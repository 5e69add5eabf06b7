"""The cost table of this machine, which is measured as searches ask, and kept in the user's cache.

What a search decides by is a function of the table alone: a kernel is measured when it is first
asked for, and what was measured stays.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import filelock
import platformdirs

from runtimes.base import Feed
from runtimes.costs.kernels import Executed
from runtimes.costs.machine import Machine
from runtimes.costs.predict import Prediction, predict
from runtimes.costs.table import CostTable
from runtimes.costs.workbench import LocalWorkbench, Workbench
from runtimes.errors import DataError
from runtimes.onnx_files.load_save import ModelSource
from runtimes.progress import Progress, silent

CostsSource = str | os.PathLike[str] | CostTable | None
"""A cost table or its file; ``"none"`` measures anew and keeps nothing; None: the user's cache."""

_LOCK_SECONDS = 10.0


class Costs:
    """Predicts latencies on one machine, and measures the kernels that its table lacks.

    Args:
        table: The readings so far; it grows.
        path: Where they are kept as they grow, if anywhere.
        here: The table of this machine, where ``table`` is of another one: what is missing is
            measured here and scaled by how fast both machines are.
        notes: What the user should know of the table.
        progress: Called before kernels are measured.
        bench: Where models are traced and kernels measured; by default on this machine.
        given: Whether the user gave the table, and so wants it to decide everything.
    """

    def __init__(  # noqa: PLR0917
        self,
        table: CostTable,
        path: Path | None = None,
        here: Costs | None = None,
        notes: tuple[str, ...] = (),
        progress: Progress = silent,
        bench: Workbench | None = None,
        given: bool = False,
    ) -> None:
        shared: Workbench | None = None if here is None else here._bench
        self._bench: Workbench = bench or shared or LocalWorkbench()
        self.table, self._path, self._here, self.notes = table, path, here, notes
        self._progress, self.given = progress, given
        self._used: set[str] = set()

    @property
    def is_local(self) -> bool:
        """Whether it is ONNX Runtime on this machine that is measured."""
        return isinstance(self._bench, LocalWorkbench)

    def predict(self, model: ModelSource, feed: Feed) -> Prediction:
        """The latency of ``model`` on ``feed``; measures kernels that are not known yet."""
        return self.predict_all([model], feed)[0]

    def latencies(self, models: Iterable[ModelSource], feed: Feed) -> list[float]:
        """Microseconds of each; an iterator's models need not be in memory together."""
        return [one.microseconds for one in self.predict_all(models, feed)]

    def predict_all(self, models: Iterable[ModelSource], feed: Feed) -> list[Prediction]:
        """The same of several models, whose unknown kernels are measured side by side."""
        traced = [self._trace(model, feed) for model in models]
        self._learn([one for executed in traced for one in executed])
        return [predict(executed, self.table) for executed in traced]

    @property
    def digest(self) -> str:
        """SHA-256 of all readings that were asked for so far: of what decisions hung on."""
        used = {name: self.table.readings[name].microseconds for name in sorted(self._used)}
        beside = self.table.run_microseconds
        text = json.dumps([self.table.machine.to_dict(), beside, used], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """What a report says: the machine, how many kernels were asked for, the digest."""
        return {
            "machine": str(self.table.machine),
            "kernels": len(self._used),
            "digest": self.digest,
        }

    def _trace(self, model: ModelSource, feed: Feed) -> tuple[Executed, ...]:
        threads = self.table.machine.threads or None
        return self._bench.trace(model, feed, threads, self.table.readings)

    def _is_known(self, one: Executed) -> bool:
        return one.kernel.signature in self.table.readings

    def _learn(self, executed: Sequence[Executed]) -> None:
        self._used.update(one.kernel.signature for one in executed)
        unknown = [one for one in executed if not self._is_known(one)]
        if not unknown and self.table.yardsticks:
            return
        if self._here is not None:
            self._borrow(unknown, self._here)
            self.notes = tuple(dict.fromkeys((*self.notes, *self._here.notes)))
            return
        self._progress("measuring kernels that the cost table lacks")
        notes = self._bench.measure(unknown, self.table)
        self.notes = tuple(dict.fromkeys((*self.notes, *notes)))
        self._keep()

    def _borrow(self, unknown: Sequence[Executed], here: Costs) -> None:
        """Measure here what another machine's table lacks, and scale it."""
        here._learn(unknown)
        ratios = [
            math.log(self.table.yardsticks[name] / here.table.yardsticks[name])
            for name in self.table.yardsticks
            if name in here.table.yardsticks
        ]
        factor = math.exp(sum(ratios) / len(ratios)) if ratios else 1.0
        for one in unknown:
            own = here.table.readings[one.kernel.signature]
            scaled = replace(own, microseconds=round(own.microseconds * factor, 3), spread=0.5)
            self.table.readings[one.kernel.signature] = scaled

    def _keep(self) -> None:
        """Write what is new to the file, unless that is not possible: it is only a cache."""
        if self._path is None:
            return
        with suppress(OSError, filelock.Timeout):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(f"{self._path}.lock", timeout=_LOCK_SECONDS):
                kept = _readable(self._path, self.table.machine) or self.table
                if kept is not self.table:
                    kept.merge(self.table)
                kept.write(self._path)


def open_costs(
    source: CostsSource = None,
    *,
    threads: int = 1,
    trust: bool = False,
    progress: Progress = silent,
    bench: Workbench | None = None,
    engine: str = "cpu",
) -> Costs:
    """The costs to decide by.

    Args:
        source: A table or its file; ``"none"`` for one that is measured anew; None for the one in
            the user's cache.
        threads: Threads of a run.
        trust: Whether a table of another machine is used, which it takes to decide for that one.
        progress: Called before kernels are measured.
        bench: The machine that measures, which decides whose table is meant; None: this one.
        engine: The provider by whose clock is decided here: ``openvino``, or else ONNX Runtime's.

    Raises:
        DataError: The file cannot be read, is damaged, or is no cost table.
        RuntimeUnavailable: The engine is not installed.
    """
    bench = bench or _workbench(engine)
    machine = bench.machine(threads)
    measured = partial(Costs, progress=progress, bench=bench)
    if source is None and bench.keeps:
        return measured(CostTable(machine))  # which asks there for what it lacks
    if source is None:
        path = cache_file(machine)
        return measured(_readable(path, machine) or CostTable(machine), path)
    if isinstance(source, str) and source == "none":
        return measured(CostTable(machine))
    given = source if isinstance(source, CostTable) else CostTable.read(source)
    if given.machine == machine:
        return measured(given, given=True)
    here = open_costs(None, threads=threads, progress=progress, bench=bench)
    if trust:
        note = f"the costs are those of {given.machine}; what its table lacks was estimated here"
        return Costs(given, None, here, (note,), bench=bench, given=True)
    note = (
        f"the cost table is of another machine ({given.machine}; this is {machine}), so this one "
        "was measured; --trust-costs lets it decide for the other machine"
    )
    here.notes = (note,)
    return here


def _workbench(engine: str) -> Workbench:
    """This machine, with the clock of ``engine``."""
    if engine != "openvino":
        return LocalWorkbench()
    from runtimes.costs.openvino_bench import OpenVinoWorkbench

    return OpenVinoWorkbench()


def cache_file(machine: Machine) -> Path:
    """Where the table of ``machine`` is kept."""
    digest = hashlib.sha256(json.dumps(machine.to_dict(), sort_keys=True).encode()).hexdigest()
    return Path(platformdirs.user_cache_dir("kilnx")) / "costs" / f"{digest[:16]}.json"


def _readable(path: Path, machine: Machine) -> CostTable | None:
    """What the cache holds for ``machine``; nothing where it is damaged or not there."""
    with suppress(DataError):
        table = CostTable.read(path)
        if table.machine == machine and table.yardsticks:
            return table
    return None
