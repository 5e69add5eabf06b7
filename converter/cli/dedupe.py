"""``kilnx dedupe``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from converter.cli.console import print_json, print_line, print_rows
from converter.cli.options import Force, Json, MaxDrop, Metric
from converter.cli.progress import progress

if TYPE_CHECKING:
    from converter.passes.deduplication.initializers import DedupeReport
    from runtimes.weight_store.store import StoreCheck, StoreReport

PASSED, FAILED = 0, 1


def dedupe(
    models: Annotated[list[Path], typer.Argument(help="ONNX files, or one store.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The ONNX file, or the store, to write."),
    ] = None,
    add: Annotated[
        list[Path] | None,
        typer.Option(help="An ONNX file to add to the store; again for more.", metavar="FILE"),
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option(help="A model to remove from the store; again for more.", metavar="NAME"),
    ] = None,
    collect: Annotated[
        bool, typer.Option("--collect", help="Remove what no model of the store uses.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every byte of the store again and check it.")
    ] = False,
    extract: Annotated[
        str | None, typer.Option(help="A model of the store to write as a file of its own.")
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(help="What a model is called in the store, one for each.", metavar="NAME"),
    ] = None,
    near: Annotated[
        float | None,
        typer.Option(help="Merge weights that differ by this share at most; needs --data.", min=0),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Samples that judge what --near does.")
    ] = None,
    metric: Metric = None,
    max_drop: MaxDrop = None,
    force: Force = False,
    json: Json = False,
) -> int:
    """Store equal weights once: inside a model, or across several in a store that they share.

    One model and -o FILE.onnx: the model with each weight once. Several and -o FOLDER: a store,
    whose files ONNX Runtime opens as they are. A store and --add, --remove, --collect, --verify or
    --extract: what they say; --add with --force replaces models of the same name.
    """
    if verify or extract is not None or add or remove or collect:
        code, shown = _on_store(
            models,
            output,
            add=add or [],
            remove=remove or [],
            collect=collect,
            verify=verify,
            extract=extract,
            names=name,
            force=force,
        )
    else:
        with progress() as say:
            say(f"reading {len(models)} model{'s' if len(models) > 1 else ''}")
            code, shown = _on_models(
                models,
                output,
                names=name,
                near=near,
                data=data,
                metric=metric,
                max_drop=max_drop,
                force=force,
            )
    if json:
        print_json(shown.document)
        return code
    print_rows(shown.rows)
    for line in shown.lines:
        print_line(line)
    return code


@dataclass(frozen=True)
class _Shown:
    """A report as rows of a table, lines of prose and plain values for JSON."""

    rows: tuple[dict[str, str], ...]
    lines: tuple[str, ...]
    document: dict[str, Any]


def _on_models(
    models: Sequence[Path], output: Path | None, *, data: Path | None, **options: Any
) -> tuple[int, _Shown]:
    """Deduplicate one model into a file, or several into a store; exit code and report."""
    from converter.compression.dedupe import dedupe as run
    from runtimes.errors import DataError
    from runtimes.weight_store.store import StoreReport

    if output is None:
        raise DataError("-o is missing: the file, or the folder of the store, to write")
    if len(models) > 1 and output.suffix == ".onnx":
        raise DataError(
            f"{len(models)} models make a store, which is a folder, and {output} looks like a "
            "file; run kilnx dedupe once for each, or give -o another name"
        )
    # A path loses the slash at its end; without a suffix it is not the name of a model either.
    folder = len(models) == 1 and not output.suffix
    report = run(
        list(models) if len(models) > 1 else models[0],
        f"{output}{os.sep}" if folder else output,
        data=None if data is None else os.fspath(data),
        **options,
    )
    return PASSED, _store(report) if isinstance(report, StoreReport) else _model(report, output)


def _on_store(
    models: Sequence[Path],
    output: Path | None,
    *,
    add: Sequence[Path],
    remove: Sequence[str],
    collect: bool,
    verify: bool,
    extract: str | None,
    names: Sequence[str] | None,
    force: bool,
) -> tuple[int, _Shown]:
    """Change a store, check it or take a model out of it; exit code and report."""
    from runtimes.errors import DataError
    from runtimes.weight_store.store import extract_model, verify_store

    changes = bool(add or remove or collect)
    if len(models) != 1 or sum((changes, verify, extract is not None)) != 1:
        raise DataError(
            "--add, --remove, --collect, --verify and --extract take one store, and the last two "
            "stand alone"
        )
    if changes:
        return PASSED, _changed(
            models[0], add=add, names=names, force=force, remove=remove, collect=collect
        )
    if verify:
        check = verify_store(models[0])
        return PASSED if check.passed else FAILED, _check(check, models[0])
    if output is None:
        raise DataError("-o is missing: the ONNX file to write the model to")
    assert extract is not None
    extract_model(models[0], extract, output, force=force)
    size = output.stat().st_size
    line = f"{output}: {extract} of {models[0]}, equal to what was added; {size:,} bytes"
    return PASSED, _Shown((), (line,), {"model": extract, "output": str(output), "bytes": size})


def _changed(
    store: Path,
    *,
    add: Sequence[Path],
    names: Sequence[str] | None,
    force: bool,
    remove: Sequence[str],
    collect: bool,
) -> _Shown:
    """Add models, remove others, and collect what is left over, in this order."""
    from converter.compression.dedupe import merge_twins
    from runtimes.weight_store.store import (
        StoreReport,
        add_to_store,
        collect_store,
        remove_from_store,
        store_bytes,
    )

    added: StoreReport | None = None
    lines: tuple[str, ...] = ()
    if add:
        added = add_to_store(store, list(add), names, replace=force, merge=merge_twins)
        lines += _store(added).lines[:-1]
    if remove:
        remove_from_store(store, list(remove))
        lines += (f"{store}: {', '.join(remove)} removed",)
    collected = collect_store(store) if collect else None
    if collected is not None:
        kept = (f"{name} is no model of the store; its weights stay" for name in collected.kept)
        lines += (*kept, collected.headline())
    report = StoreReport(str(store), added.added if added else (), store_bytes(store))
    document = report.to_dict()
    if remove:
        document["removed"] = list(remove)
    if collected is not None:
        document["collected"] = collected.to_dict()
    return _Shown(tuple(report.rows()), (*lines, report.headline()), document)


def _model(report: DedupeReport, output: Path) -> _Shown:
    lines = [f"note: {note}" for note in report.notes]
    if report.nodes_removed:
        lines.append(f"{report.nodes_removed} nodes computed what others compute")
    lines.append(f"{output}: {report.headline()}")
    return _Shown(tuple(report.rows()), tuple(lines), report.to_dict())


def _store(report: StoreReport) -> _Shown:
    notes = [f"note: {model.name}: {model.note}" for model in report.added if model.note]
    return _Shown(tuple(report.rows()), (*notes, report.headline()), report.to_dict())


def _check(check: StoreCheck, store: Path) -> _Shown:
    unused = [f"no model uses {path}" for path in check.unused]
    lines = [*check.problems, *unused, f"{store}: {check.headline()}"]
    return _Shown((), tuple(lines), check.to_dict())
