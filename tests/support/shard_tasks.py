"""Tasks for workers: they can be pickled, and some misbehave."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from runtimes.errors import DataError

Shard = tuple[int, int]


@dataclass(frozen=True)
class Square:
    """Gives the square of the index; notes each call in a folder."""

    folder: str

    def __call__(self, shard: Shard) -> bytes:
        self.note(shard)
        return str(shard[0] ** 2).encode()

    def note(self, shard: Shard) -> int:
        """How often the shard was begun before."""
        before = len(list(Path(self.folder).glob(f"{shard[0]}-*")))
        (Path(self.folder) / f"{shard[0]}-{time.monotonic_ns()}-{os.getpid()}").touch()
        return before


@dataclass(frozen=True)
class DiesOnce(Square):
    """Kills its own process the first time that it is called with an odd index."""

    def __call__(self, shard: Shard) -> bytes:
        if not self.note(shard) and shard[0] % 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return str(shard[0] ** 2).encode()


@dataclass(frozen=True)
class Dies(Square):
    """Kills its process whenever it is called with 3."""

    def __call__(self, shard: Shard) -> bytes:
        if shard[0] == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(shard)


@dataclass(frozen=True)
class HangsOnce(Square):
    """Stops its own process the first time that it is called with 2."""

    def __call__(self, shard: Shard) -> bytes:
        if not self.note(shard) and shard[0] == 2:
            os.kill(os.getpid(), signal.SIGSTOP)
        return str(shard[0] ** 2).encode()


@dataclass(frozen=True)
class Refuses(Square):
    """Raises what a user should read."""

    def __call__(self, shard: Shard) -> bytes:
        raise DataError(f"shard {shard[0]} holds NaN")


@dataclass(frozen=True)
class Breaks(Square):
    """Raises what only a defect raises."""

    def __call__(self, shard: Shard) -> bytes:
        raise ZeroDivisionError(f"shard {shard[0]}")
