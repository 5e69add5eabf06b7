"""How busy a machine was with other work while something was timed on it.

Interleaving compares two models fairly on a busy machine, but what was measured there is not what
an idle one would show. Linux tells what is asked here; elsewhere a machine counts as idle.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from runtimes.cpu_info import own_cores

# Shares from which on timings are disturbed. A desktop at rest stays below a twentieth.
_WAITED, _STOLEN, _OTHERS = 0.02, 0.02, 0.2
# The kernel counts cores in hundredths of a second: over less time, their use is rounding.
_LEAST_SECONDS = 0.2


@dataclass(frozen=True)
class Moment:
    """Counters of the machine and of this process, in seconds from an arbitrary start.

    ``used`` and ``stolen``: by all processes and by the hypervisor, on the ``cores`` that this
    process may use. ``waited``: how long the calling thread was ready to run and no core was free.
    """

    clock: float
    own: float
    waited: float
    used: float
    stolen: float
    cores: int


@dataclass(frozen=True)
class MachineLoad:
    """What disturbed a measurement.

    ``waited``: the share of the time in which the measuring thread waited for a core; ``stolen``:
    the share of the cores that the hypervisor gave to other guests; ``others``: the share of them
    that other processes used.
    """

    waited: float = 0.0
    stolen: float = 0.0
    others: float = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether timings are disturbed."""
        return self.waited > _WAITED or self.stolen > _STOLEN or self.others > _OTHERS

    def __str__(self) -> str:
        said = (
            f"other processes used {self.others:.0%} of its cores" * (self.others > _OTHERS),
            f"its host took {self.stolen:.0%} of them away" * (self.stolen > _STOLEN),
            f"runs waited {self.waited:.0%} of the time for a core" * (self.waited > _WAITED),
        )
        return f"this machine was busy: {', '.join(filter(None, said))}" if any(said) else "idle"

    @classmethod
    def between(cls, before: Moment, after: Moment) -> MachineLoad:
        """The load from one moment to another."""
        passed = after.clock - before.clock
        if passed < _LEAST_SECONDS:
            return cls()
        capacity = passed * after.cores
        others = (after.used - before.used) - (after.own - before.own)
        return cls(
            _share(after.waited - before.waited, passed),
            _share(after.stolen - before.stolen, capacity),
            _share(others, capacity),
        )

    @classmethod
    def worst(cls, loads: Iterable[MachineLoad]) -> MachineLoad:
        """The highest of each share."""
        every = [cls(), *loads]
        return cls(
            max(one.waited for one in every),
            max(one.stolen for one in every),
            max(one.others for one in every),
        )


class LoadWatch:
    """Tells of the load since it was made, or since it was last asked."""

    def __init__(self) -> None:
        self._before = now()
        self._found: list[MachineLoad] = []

    def look(self) -> MachineLoad:
        """The load since the last look."""
        after = now()
        self._found.append(MachineLoad.between(self._before, after))
        self._before = after
        return self._found[-1]

    @property
    def worst(self) -> MachineLoad:
        """The highest load of all looks."""
        return MachineLoad.worst(self._found)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report says of it, if the machine was busy."""
        return noted(self._found)


def noted(loads: Iterable[MachineLoad]) -> tuple[str, ...]:
    """The note that the machine was busy in one of ``loads``."""
    worst = MachineLoad.worst(loads)
    if not worst.is_busy:
        return ()
    return (f"{worst}; more was timed, and times may still be too long",)


def now() -> Moment:
    """The counters as they stand; zeros for what this system does not tell."""
    cores = own_cores() or {0}
    used, stolen = _cores(_lines("/proc/stat"), cores)
    return Moment(
        time.perf_counter(),
        time.process_time(),
        _waited(_lines("/proc/thread-self/schedstat")),
        used,
        stolen,
        len(cores),
    )


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return []


def _cores(lines: Iterable[str], cores: set[int]) -> tuple[float, float]:
    """Seconds that ``cores`` worked, and seconds that they were taken away."""
    wanted, ticks = {f"cpu{core}" for core in cores}, [0, 0]
    for line in lines:
        name, *counts = line.split() or [""]
        if name in wanted and len(counts) >= 8:
            user, nice, system, _, _, interrupts, soft, steal = map(int, counts[:8])
            ticks[0] += user + nice + system + interrupts + soft
            ticks[1] += steal
    hertz = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
    return ticks[0] / hertz, ticks[1] / hertz


def _waited(lines: Iterable[str]) -> float:
    for line in lines:
        fields = line.split()
        return int(fields[1]) / 1e9 if len(fields) > 1 else 0.0
    return 0.0


def _share(part: float, whole: float) -> float:
    return min(1.0, max(0.0, part / whole))
