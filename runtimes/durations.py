"""Durations as people write them on a command line: ``90``, ``90s``, ``5m``, ``1h30m``."""

from __future__ import annotations

import math
import re

from runtimes.errors import DataError

_UNITS = {"h": 3600, "m": 60, "s": 1}
_WRITTEN = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


def seconds_of(duration: str | float, option: str = "time_budget") -> float:
    """Seconds of a duration, given as such or as text; ``DataError`` names ``option`` otherwise."""
    found = _written(duration) if isinstance(duration, str) else float(duration)
    if not found > 0 or math.isinf(found):
        raise DataError(
            f"{option} {duration!r} is not a time such as 90s, 5m or 1h (a number alone is seconds)"
        )
    return found


def _written(text: str) -> float:
    match = _WRITTEN.fullmatch(text.strip().lower().replace(" ", ""))
    if match is None:
        return math.nan
    return sum(
        float(part) * unit for part, unit in zip(match.groups("0"), _UNITS.values(), strict=True)
    )
