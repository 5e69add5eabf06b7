"""What a worker's process answers besides arrays and numbers."""

from __future__ import annotations

from dataclasses import dataclass

from runtimes.engines.runtime import Loaded


@dataclass(frozen=True)
class Failure:
    """An error that crosses from one process to the other: its class and its message."""

    kind: str
    message: str


@dataclass(frozen=True)
class Pool:
    """The weights that sessions of several processes share: see ``SharedWeights``."""

    folder: str
    prepack: bool
    arena: bool


@dataclass(frozen=True)
class Opened:
    """What loading a model tells: what the engine knows of it, and how long it took."""

    loaded: Loaded
    seconds: float
