"""Kernels measured by OpenVINO's clock, in place of ONNX Runtime's."""

from __future__ import annotations

from collections.abc import Container, Sequence

from runtimes.base import Feed
from runtimes.costs.kernels import Executed
from runtimes.costs.machine import Machine, this_machine
from runtimes.costs.measure import measure_yardsticks, speed_now
from runtimes.costs.openvino_kernels import Timed, faster_half, time_kernels
from runtimes.costs.table import CostTable, Reading
from runtimes.engines.openvino_nodes import require_openvino
from runtimes.onnx_files.load_save import ModelSource


class OpenVinoWorkbench:
    """This machine, with OpenVINO: kernels are timed in the model that they run in."""

    keeps = False

    def __init__(self) -> None:
        self._version = str(require_openvino().get_version())
        self._timed: list[Timed] = []

    def machine(self, threads: int) -> Machine:
        """This machine, by OpenVINO's version."""
        return this_machine(threads, engine=f"OpenVINO {self._version}")

    def trace(
        self, model: ModelSource, feed: Feed, threads: int | None, known: Container[str]
    ) -> tuple[Executed, ...]:
        """The kernels that OpenVINO makes of ``model``; it runs unless all of them are known."""
        timed = time_kernels(model, feed, threads=threads, known=known)
        self._timed.append(timed)
        return timed.executed

    def measure(self, unknown: Sequence[Executed], table: CostTable) -> tuple[str, ...]:
        """Add readings of kernels as they ran, scaled by how fast the machine is at the moment."""
        if not table.yardsticks:
            measure_yardsticks(table)
        speed = speed_now(table)
        for one in unknown:
            fast = faster_half(one.microseconds)
            middle = sorted(one.microseconds)[len(one.microseconds) // 2]
            reading = Reading.of(fast * speed, max((middle - fast) / max(fast, 0.5), 0.0), 1)
            table.readings.setdefault(one.kernel.signature, reading)
        beside = [timed.beside for timed in self._timed if timed.whole]
        if beside:
            table.run_microseconds = round(min(beside), 3)
        self._timed.clear()
        return ()
