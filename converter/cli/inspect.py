"""``kilnx inspect``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from converter.cli.console import print_json, print_line, print_rows
from converter.cli.options import Json

if TYPE_CHECKING:
    from runtimes.inspection.inspect import ModelInspection


def inspect(
    models: Annotated[list[Path], typer.Argument(help="One ONNX file, or two to compare.")],
    operators: Annotated[
        bool, typer.Option("--operators", help="Count every type of operator.")
    ] = False,
    json: Json = False,
) -> None:
    """Say what an ONNX file holds: inputs, outputs, operators, weights; two side by side."""
    from runtimes.errors import DataError
    from runtimes.inspection.inspect import inspect_model

    if len(models) > 2:
        raise DataError(f"inspect takes one file or two to compare, and not {len(models)}")
    found = [inspect_model(model) for model in models]
    if json:
        print_json({"models": [one.to_dict() for one in found]})
        return
    _print_facts(found)
    _print_interface(found)
    if operators:
        _print_operators(found)
    for one in found:
        where = f"{one.model}: " if len(found) > 1 else ""
        for text in one.recognized:
            print_line(f"{where}{text}")
        for note in one.notes:
            print_line(f"note: {where}{note}")
    if not operators:
        print_line("--operators counts every type of operator")


def _print_facts(found: Sequence[ModelInspection]) -> None:
    for one in found if len(found) == 1 else ():
        print_line(one.headline())
    columns = _columns(found)
    facts = dict(zip(columns, (one.facts() for one in found), strict=True))
    names = dict.fromkeys(name for one in facts.values() for name in one)
    print_rows([{"": name, **{c: one.get(name, "") for c, one in facts.items()}} for name in names])


def _print_interface(found: Sequence[ModelInspection]) -> None:
    """Inputs and outputs, once where both files have the same."""
    for what in ("inputs", "outputs"):
        texts = [", ".join(getattr(one, what)) or "none" for one in found]
        if len(set(texts)) == 1:
            print_line(f"{what:8} {texts[0]}")
            continue
        for one, text in zip(found, texts, strict=True):
            print_line(f"{what:8} {one.model}: {text}")


def _print_operators(found: Sequence[ModelInspection]) -> None:
    """How often every type stands in each file, and how often ONNX Runtime runs it."""
    counts: dict[str, Mapping[str, int]] = {}
    for column, one in zip(_columns(found), found, strict=True):
        short = column if len(found) > 1 else "file"
        counts[short] = one.operators
        if one.run is not None:
            counts[f"{short}, run"] = one.run
    types = sorted(set().union(*counts.values()))
    shown = [
        {"operator": kind, **{c: str(by.get(kind, "")) for c, by in counts.items()}}
        for kind in types
    ]
    print_rows(shown)


def _columns(found: Sequence[ModelInspection]) -> list[str]:
    """What each file is called above its column: its name, with the folder where both are alike."""
    paths = [Path(one.model) for one in found]
    names = [path.name for path in paths]
    if len(set(names)) == len(names):
        return names
    longer = [str(Path(path.parent.name, path.name)) for path in paths]
    return longer if len(set(longer)) == len(longer) else ["first", "second"]
