"""What the commands do alike where a device measures and judges in place of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from runtimes.costs import Costs, CostsSource, open_costs
from runtimes.engines.elsewhere import Elsewhere, checked_device
from runtimes.engines.providers import require_providers
from runtimes.options import RunOptions


class OnDevice(Protocol):
    """The options of a command that decides by costs, here or on a device."""

    @property
    def costs(self) -> CostsSource:
        """What kernels cost, where that is known."""
        ...

    @property
    def trust_costs(self) -> bool:
        """Whether a table of another machine decides."""
        ...

    @property
    def device(self) -> Elsewhere | None:
        """Where to measure and judge in place of this machine."""
        ...


def require_device(options: OnDevice, providers: Sequence[str] = ("cpu",)) -> None:
    """Raise ``RuntimeUnavailable`` unless the device answers, or this machine has ``providers``."""
    device = checked_device(options.device)
    if device is not None:
        device.require(providers)
    else:
        require_providers(providers)


def costs_of(options: OnDevice, run: RunOptions, engine: str = "cpu") -> Costs:
    """The costs to decide by: those of the device, where there is one, or by ``engine``'s clock."""
    device = options.device
    keep = not (isinstance(options.costs, str) and options.costs == "none")
    return open_costs(
        options.costs,
        threads=run.threads,
        trust=options.trust_costs,
        progress=run.tell,
        bench=None if device is None else device.workbench(keep=keep),
        engine=engine,
    )


def notes_of_device(options: OnDevice) -> tuple[str, ...]:
    """What a report says of where its numbers are from."""
    if options.device is None:
        return ()
    return (
        f"latencies, costs and answers are those of the device {options.device}; the time of "
        "single operators was measured on the machine that compressed",
    )
