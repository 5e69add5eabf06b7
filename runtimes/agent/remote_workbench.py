"""Costs of a device: its kernels are traced and measured there."""

from __future__ import annotations

import weakref
from collections.abc import Container, Sequence

from runtimes.agent.link import Link
from runtimes.agent.messages import CostsCall, Measured, Read, Traced, Traces
from runtimes.agent.parts import ModelParts, parts_of
from runtimes.agent.remote_job import RemoteJob
from runtimes.agent.typed_json import read
from runtimes.base import Feed
from runtimes.costs import CostTable
from runtimes.costs.kernels import Executed, Kernel, Tensor
from runtimes.costs.machine import Machine
from runtimes.errors import RuntimeUnavailable
from runtimes.onnx_files.load_save import ModelSource


class RemoteWorkbench:
    """A device, in a process there that sees the models of one search.

    ``keep``: whether the device keeps what it measures, and takes what it measured before.
    """

    keeps = True

    def __init__(self, link: Link, *, keep: bool = True) -> None:
        self._link, self._keep, self._job = link, keep, RemoteJob(link)
        self._closing = weakref.finalize(self, _close, self._job, link)  # costs are never closed
        self._traced: list[tuple[ModelParts, Feed, frozenset[str]]] = []

    def machine(self, threads: int) -> Machine:
        """What the device says that it is."""
        told = self._link.info().machine
        return Machine(told.cpu, told.features, told.onnxruntime, threads)

    def trace(
        self, model: ModelSource, feed: Feed, threads: int | None, known: Container[str]
    ) -> tuple[Executed, ...]:
        """Ask for the kernels that the device runs; models with unknown ones are remembered."""
        with parts_of(model) as parts:
            call = CostsCall(threads or 0, self._keep)
            answer, _ = self._job.ask("trace", call, feed, [parts])
            with self._link.understanding():
                models = read(Traces, answer, "the costs").models
            executed = tuple(_executed(one) for traced in models[:1] for one in traced)
            unknown = {one.kernel.signature for one in executed} - _known(executed, known)
            if unknown or not self._traced:
                self._traced.append((parts, feed, frozenset(unknown)))
        return executed

    def measure(self, unknown: Sequence[Executed], table: CostTable) -> tuple[str, ...]:
        """Ask for the readings of the models that hold kernels which are not known."""
        wanted = {one.kernel.signature for one in unknown}
        notes: list[str] = []
        traced, self._traced = self._traced, []
        for parts, feed, signatures in traced:
            if signatures & (wanted - table.readings.keys()) or not table.yardsticks:
                notes += self._measured(parts, feed, table)
        lacking = wanted - table.readings.keys()
        if lacking:
            raise RuntimeUnavailable(
                f"the agent on {self._link.address} did not measure {len(lacking)} kernels, such "
                f"as {sorted(lacking)[0][:80]}"
            )
        return tuple(dict.fromkeys(notes))

    def close(self) -> None:
        """End the process on the device; whoever uses it no more has closed it, too."""
        self._closing()

    def _measured(self, parts: ModelParts, feed: Feed, table: CostTable) -> tuple[str, ...]:
        call = CostsCall(table.machine.threads, self._keep)
        answer, _ = self._job.ask("measure", call, feed, [parts])
        with self._link.understanding():
            measured = read(Measured, answer, "the costs")
        found = CostTable.from_json(measured.table, f"the cost table of {self._link.address}")
        if not table.yardsticks:
            table.yardsticks |= found.yardsticks
            table.run_microseconds = found.run_microseconds
        table.merge(found)
        return measured.notes


def _close(job: RemoteJob, link: Link) -> None:
    job.end()
    link.close()


def _known(executed: Sequence[Executed], known: Container[str]) -> set[str]:
    return {one.kernel.signature for one in executed if one.kernel.signature in known}


def _executed(told: Traced) -> Executed:
    inputs = tuple(None if one is None else _tensor(one) for one in told.inputs)
    kernel = Kernel(told.signature, told.op_type, inputs, told.can_be_isolated, None, {})
    return Executed(kernel, told.name, told.origins, (), max(1, told.times))


def _tensor(told: Read) -> Tensor:
    return Tensor(told.dtype, told.shape, told.constant, told.content)
