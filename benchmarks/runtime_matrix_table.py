"""The table of ``benchmarks/runtime_matrix.py``: a row per target, a column per model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Cell = Mapping[str, Any]
Matrix = Mapping[str, Mapping[str, Cell]]


def is_wrong(cell: Cell) -> bool:
    """Whether it is what must not be: a file outside of its budget, or a process that died."""
    return cell.get("passed") is False or cell["state"] in ("CRASH", "too slow")


def shown(cell: Cell) -> str:
    """A cell in a word or two."""
    if "passed" not in cell:
        return str(cell["state"])
    decibels = cell["sqnr_db"]
    exact = decibels is None or not math.isfinite(decibels)
    text = "exact" if exact else f"{decibels:.0f}"
    if not cell["passed"]:
        return f"WRONG {text}"
    return "float" if cell["state"] == "float" else text


def table(matrix: Matrix) -> str:
    """Float / INT8 of every model for every target as Markdown, and why where it is a word."""
    models = list(dict.fromkeys(row.rpartition(", ")[0] for row in matrix))
    targets = list(dict.fromkeys(target for row in matrix.values() for target in row))
    lines = [f"| target | {' | '.join(models)} |", f"|---{'|---' * len(models)}|"]
    for target in targets:
        cells = [_both(matrix, model, target) for model in models]
        lines.append(f"| `{target}` | {' | '.join(cells)} |")
    reasons: dict[str, list[str]] = {}
    for row, cells_of in matrix.items():
        for target, one in cells_of.items():
            why = one.get("why") or (one.get("reason") if is_wrong(one) else "")
            if why:
                reasons.setdefault(f"`{target}`: {why}", []).append(row)
    lines += ["", *(f"- {why} ({'; '.join(rows)})" for why, rows in reasons.items())]
    return "\n".join(lines) + "\n"


def _both(matrix: Matrix, model: str, target: str) -> str:
    found = [matrix.get(f"{model}, {form}", {}).get(target) for form in ("float", "INT8")]
    return " / ".join("–" if one is None else shown(one) for one in found)
