"""Where a race is run: on this machine, or on a device where ``kilnx agent`` runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from runtimes.agent.client import RemoteRuntime as DeviceRuntime
from runtimes.agent.device import Device
from runtimes.engines.elsewhere import Elsewhere
from runtimes.engines.installed import Installed, find_installed
from runtimes.engines.ort import NO_SPINNING
from runtimes.errors import DataError
from runtimes.racing.remote import RemoteRuntime

Racer = RemoteRuntime | DeviceRuntime
"""One file in one engine in a process of its own, wherever that is."""

# All models of a heat are in memory at the same time.
_LARGEST_HEAT = 6


class Place(Protocol):
    """A machine on which a race is run."""

    @property
    def largest_heat(self) -> int:
        """How many entries may be open there at the same time."""
        ...

    @property
    def note(self) -> str | None:
        """What a report should say of the place."""
        ...

    def installed(self, asked: Sequence[str] | None) -> Installed:
        """Its engines: those ``asked`` for, or all; ``RuntimeUnavailable`` for one it lacks."""
        ...

    def start(self, file: Path, provider: str, *, threads: int | None, fallback: bool) -> Racer:
        """Open ``file`` there; no thread of it keeps spinning while others run."""
        ...


class ThisMachine:
    """A race on the machine that runs kilnx; ``patience``: as in ``RaceOptions``."""

    largest_heat = _LARGEST_HEAT
    note = None

    def __init__(self, patience: float) -> None:
        self._patience = patience

    def installed(self, asked: Sequence[str] | None) -> Installed:
        """The engines of this machine."""
        return find_installed(asked)

    def start(self, file: Path, provider: str, *, threads: int | None, fallback: bool) -> Racer:
        """A process here that has ``file`` open."""
        return RemoteRuntime(
            file, provider, threads=threads, allow_fallback=fallback, patience=self._patience
        )


class OnDevice:
    """A race on a device: entries are jobs of its agent, which times them, one at a time."""

    def __init__(self, device: Elsewhere) -> None:
        if not isinstance(device, Device):
            raise DataError(f"{device!r} is no runtimes.Device, on which alone models race")
        self._device = device
        self.largest_heat = min(_LARGEST_HEAT, device.info().jobs)
        self.note = f"raced on the device {device}"

    def installed(self, asked: Sequence[str] | None) -> Installed:
        """The engines of the device."""
        return self._device.installed(asked)

    def start(self, file: Path, provider: str, *, threads: int | None, fallback: bool) -> Racer:
        """A job on the device that has ``file`` open."""
        return self._device.open(
            file, provider, threads=threads, config=NO_SPINNING, allow_fallback=fallback
        )
