"""Where models are traced and kernels are measured: here, or on a device that answers."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Protocol

from runtimes.base import Feed
from runtimes.costs.kernels import Executed, trace_kernels
from runtimes.costs.machine import Machine, this_machine
from runtimes.costs.measure import measure, measure_in_situ, measure_yardsticks, runs_alone
from runtimes.costs.table import CostTable
from runtimes.machine_load import LoadWatch
from runtimes.onnx_files.load_save import ModelSource

_IN_SITU_RUNS = 23
_AGAIN = "; what they cost may be off, so measure them again when it is not (--costs none)"


class Workbench(Protocol):
    """A machine that tells which kernels a model runs there, and how long they take.

    ``keeps``: whether it keeps the table itself, so that nothing of it is kept here.
    """

    keeps: bool

    def machine(self, threads: int) -> Machine:
        """Which machine it is, with so many ``threads`` a run."""
        ...

    def trace(
        self, model: ModelSource, feed: Feed, threads: int | None, known: Container[str]
    ) -> tuple[Executed, ...]:
        """The kernels of ``model`` on ``feed``; those that are not ``known`` may be measured."""
        ...

    def measure(self, unknown: Sequence[Executed], table: CostTable) -> tuple[str, ...]:
        """Add readings of traced kernels to ``table``; what should be known of them."""
        ...


class LocalWorkbench:
    """This machine."""

    keeps = False

    def __init__(self) -> None:
        self._was_busy = False
        self._alone: dict[str, bool] = {}  # whether kernels that are not known run by themselves

    def machine(self, threads: int) -> Machine:
        """This machine."""
        return this_machine(threads)

    def trace(
        self, model: ModelSource, feed: Feed, threads: int | None, known: Container[str]
    ) -> tuple[Executed, ...]:
        """Run the model under the profiler, several times where a kernel cannot be isolated."""
        executed = trace_kernels(model, feed, threads=threads, known=known)
        for one in executed:
            if one.kernel.signature not in known and one.kernel.signature not in self._alone:
                self._alone[one.kernel.signature] = runs_alone(one.kernel)
        if all(self._alone.get(one.kernel.signature, True) for one in executed):
            return executed
        return trace_kernels(model, feed, threads=threads, known=known, runs=_IN_SITU_RUNS)

    def measure(self, unknown: Sequence[Executed], table: CostTable) -> tuple[str, ...]:
        """Measure kernels by themselves, and the others as they ran in their model.

        Says once that the machine was busy meanwhile.
        """
        watch = LoadWatch()
        if not table.yardsticks:
            measure_yardsticks(table)
        measure([one.kernel for one in unknown if self._alone[one.kernel.signature]], table)
        measure_in_situ(unknown, table)  # those that are left
        load = watch.look()
        if self._was_busy or not load.is_busy:
            return ()
        self._was_busy = True
        return (f"while kernels were measured, {load}{_AGAIN}",)
