"""What ``kilnx dedupe`` does with its arguments, and how it shows the result."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converter.passes.dedupe import DedupeReport
from converter.sharing import dedupe
from runtimes.errors import DataError
from runtimes.store import StoreCheck, StoreReport, add_to_store, extract_model, verify_store

PASSED, FAILED = 0, 1


@dataclass(frozen=True)
class Shown:
    """A report as rows of a table, lines of prose and plain values for JSON."""

    table: tuple[dict[str, str], ...]
    prose: tuple[str, ...]
    values: dict[str, Any]

    def rows(self) -> tuple[dict[str, str], ...]:
        """Cells by column."""
        return self.table

    def lines(self) -> tuple[str, ...]:
        """What stands below the table."""
        return self.prose

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return self.values


def on_models(
    models: Sequence[Path], output: Path | None, *, data: Path | None, **options: Any
) -> tuple[int, Shown]:
    """Deduplicate one model into a file, or several into a store; exit code and report."""
    if output is None:
        raise DataError("-o is missing: the file, or the folder of the store, to write")
    if len(models) > 1 and output.suffix == ".onnx":
        raise DataError(
            f"{len(models)} models make a store, which is a folder, and {output} looks like a "
            "file; run kilnx dedupe once for each, or give -o another name"
        )
    # A path loses the slash at its end; without a suffix it is not the name of a model either.
    folder = len(models) == 1 and not output.suffix
    report = dedupe(
        list(models) if len(models) > 1 else models[0],
        f"{output}{os.sep}" if folder else output,
        data=None if data is None else os.fspath(data),
        **options,
    )
    return PASSED, _store(report) if isinstance(report, StoreReport) else _model(report, output)


def on_store(
    models: Sequence[Path],
    output: Path | None,
    *,
    add: Sequence[Path],
    verify: bool,
    extract: str | None,
    names: Sequence[str] | None,
    force: bool,
) -> tuple[int, Shown]:
    """Add to a store, check it or take a model out of it; exit code and report."""
    if len(models) != 1 or sum((bool(add), verify, extract is not None)) != 1:
        raise DataError("--add, --verify and --extract take one store, and one of them at a time")
    if add:
        return PASSED, _store(add_to_store(models[0], list(add), names))
    if verify:
        check = verify_store(models[0])
        return PASSED if check.passed else FAILED, _check(check, models[0])
    if output is None:
        raise DataError("-o is missing: the ONNX file to write the model to")
    assert extract is not None
    extract_model(models[0], extract, output, force=force)
    size = output.stat().st_size
    line = f"{output}: {extract} of {models[0]}, equal to what was added; {size:,} bytes"
    return PASSED, Shown((), (line,), {"model": extract, "output": str(output), "bytes": size})


def _model(report: DedupeReport, output: Path) -> Shown:
    rows = [
        {
            "kept": merge.kept,
            "also stored as": ", ".join(merge.replaced),
            "read by": "" if merge.how == "equal" else merge.how,
            "layers": ", ".join(merge.layers),
            "bytes saved": f"{merge.saved_bytes:,}",
        }
        for merge in report.merged
    ]
    before, after = report.weight_bytes_before, report.weight_bytes_after
    lines = [f"note: {note}" for note in report.notes]
    if report.nodes_removed:
        lines.append(f"{report.nodes_removed} nodes computed what others compute")
    lines.append(f"{output}: {before:,} → {after:,} bytes of weights")
    return Shown(tuple(rows), tuple(lines), report.to_dict())


def _store(report: StoreReport) -> Shown:
    rows = [
        {
            "model": model.name,
            "weights": f"{model.weights:,}",
            "bytes": f"{model.weight_bytes:,}",
            "new weights": f"{model.new_weights:,}",
            "new bytes": f"{model.new_bytes:,}",
        }
        for model in report.added
    ]
    line = f"{report.store}: {report.store_bytes:,} bytes in all"
    return Shown(tuple(rows), (line,), report.to_dict())


def _check(check: StoreCheck, store: Path) -> Shown:
    lines = [*check.problems, *(f"no model uses {path}" for path in check.unused)]
    verdict = "every byte is what was stored" if check.passed else f"{len(check.problems)} problems"
    lines.append(
        f"{store}: {len(check.models)} models, {check.weights} weights, "
        f"{check.weight_bytes:,} bytes; {verdict}"
    )
    return Shown((), tuple(lines), check.to_dict())
