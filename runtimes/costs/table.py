"""The cost table: how long each kernel takes on one machine, with how sure that is.

The file is JSON, sorted, so that two tables with the same readings are the same bytes. What is
read from a file is checked before it is believed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtimes.atomic_files import replace_text
from runtimes.costs.machine import Machine
from runtimes.errors import DataError

FORMAT = "kilnx.costs"
VERSION = 1

_MOST_BYTES = 128 * 2**20
_LONGEST_SIGNATURE = 50_000
_LONGEST_MICROSECONDS = 1e10


@dataclass(frozen=True)
class Reading:
    """How long a kernel takes, ``microseconds`` a run.

    ``spread``: how far the median of the launches is above their lower quartile, as a share.
    ``launches``: how many there were.
    """

    microseconds: float
    spread: float
    launches: int

    @classmethod
    def of(cls, microseconds: float, spread: float, launches: int) -> Reading:
        """Rounded to what the file holds, so that a table that was read again decides alike."""
        return cls(round(microseconds, 3), round(spread, 3), launches)


@dataclass
class CostTable:
    """Readings by signature, of ``machine``.

    ``yardsticks``: microseconds of kernels that every measurement runs beside the others; by them
    a moment in which the machine is slower is told from a slow kernel. ``run_microseconds``: what a
    run costs beside its kernels.
    """

    machine: Machine
    yardsticks: dict[str, float] = field(default_factory=dict)
    run_microseconds: float | None = None
    readings: dict[str, Reading] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.readings)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.readings))

    @property
    def digest(self) -> str:
        """SHA-256 of what the file holds."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The text of the file."""
        document = {
            "format": FORMAT,
            "version": VERSION,
            "machine": self.machine.to_dict(),
            "yardsticks": self.yardsticks,
            "run_microseconds": self.run_microseconds,
            "kernels": {
                name: [one.microseconds, one.spread, one.launches]
                for name, one in self.readings.items()
            },
        }
        return json.dumps(document, indent=0, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, name: str = "the cost table") -> CostTable:
        """Read what ``to_json`` wrote; raises ``DataError`` that says what is wrong with it."""
        try:
            document = json.loads(text)
            if not isinstance(document, dict) or document.get("format") != FORMAT:
                raise DataError("it is not one that kilnx wrote")
            if document.get("version") != VERSION:
                raise DataError(
                    f"it has version {str(document.get('version'))[:20]}, and this kilnx reads "
                    f"version {VERSION}"
                )
            return cls(
                Machine.from_dict(document.get("machine")),
                {str(key): _time(value) for key, value in document["yardsticks"].items()},
                None
                if document["run_microseconds"] is None
                else _time(document["run_microseconds"]),
                {_signature(key): _reading(value) for key, value in document["kernels"].items()},
            )
        except DataError as error:
            raise DataError(f"{name} cannot be used: {error}") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(
                f"{name} is not a cost table, or a damaged one ({type(error).__name__}: "
                f"{str(error)[:100]}); `kilnx costs measure` writes one"
            ) from error

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> CostTable:
        """Read a file; raises ``DataError`` where it cannot be read or is no table."""
        try:
            if Path(path).stat().st_size > _MOST_BYTES:
                raise DataError(f"{path} is larger than any cost table, {_MOST_BYTES >> 20} MiB")
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not a cost table: it is not text") from error
        return cls.from_json(text, str(path))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the table to ``path``, whole or not at all."""
        replace_text(path, self.to_json())

    def merge(self, other: CostTable) -> None:
        """Take the readings of ``other`` that are missing here; what is here stays."""
        for name, one in other.readings.items():
            self.readings.setdefault(name, one)


def _signature(key: Any) -> str:
    if not isinstance(key, str) or len(key) > _LONGEST_SIGNATURE:
        raise DataError("a kernel's signature is too long")
    return key


def _reading(value: Any) -> Reading:
    microseconds, spread, launches = value
    spread = float(spread)
    if not (math.isfinite(spread) and spread >= 0):
        raise DataError(f"a spread of {spread} makes no sense")
    return Reading(_time(microseconds), spread, int(launches))


def _time(value: Any) -> float:
    time = float(value)
    if isinstance(value, str) or not 0 <= time < _LONGEST_MICROSECONDS:
        raise DataError(f"a time of {str(value)[:20]} µs makes no sense")
    return time
