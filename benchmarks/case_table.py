"""What benchmarks of many cases print and write: how many ended how, by family."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

PACKAGES = ("keras", "tensorflow", "tf2onnx", "onnx", "onnx-ir", "onnxruntime", "numpy")

Row = Mapping[str, Any]
"""A case: at least its ``status``, and what the table has a line for."""


def table(rows: Sequence[Row], by: str, statuses: Sequence[str]) -> str:
    """Cases by ``by`` (a key of every row) and status, with a line of totals."""
    families = list(dict.fromkeys(row[by] for row in rows))
    lines = [f"{by:16}" + "".join(f"{status:>11}" for status in statuses)]
    for family in [*families, "total"]:
        counts = totals(row for row in rows if family in ("total", row[by]))
        lines.append(f"{family:16}" + "".join(f"{counts.get(s, 0):11}" for s in statuses))
    return "\n".join(lines)


def totals(rows: Iterable[Row]) -> dict[str, int]:
    """How many cases have each status."""
    return dict(Counter(row["status"] for row in rows))


def surroundings() -> dict[str, Any]:
    """Versions of what was measured, and the machine."""
    return {
        "versions": {package: version(package) for package in PACKAGES},
        "machine": f"{platform.machine()} {platform.system()}",
    }
