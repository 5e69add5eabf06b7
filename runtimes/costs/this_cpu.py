"""The CPU here by what kernels are chosen by: results of the same features have the same bits."""

from __future__ import annotations

from runtimes.costs.machine import this_machine


def this_cpu() -> str:
    """The vector features of the CPU here."""
    return ", ".join(this_machine(1).features) or "no vector features known"
