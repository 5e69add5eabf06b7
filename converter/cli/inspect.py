"""``kilnx inspect``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from converter.cli.console import print_json, print_line, print_rows
from converter.cli.options import Json, PublicKey

if TYPE_CHECKING:
    from runtimes.inspection.inspect import ModelInspection


def inspect(
    models: Annotated[
        list[Path], typer.Argument(help="One ONNX file or bundle, or two to compare.")
    ],
    operators: Annotated[
        bool, typer.Option("--operators", help="Count every type of operator.")
    ] = False,
    verify: PublicKey = None,
    json: Json = False,
) -> None:
    """Say what an ONNX file holds: inputs, outputs, operators, weights; two side by side."""
    from runtimes.errors import DataError

    if len(models) > 2:
        raise DataError(f"inspect takes one file or two to compare, and not {len(models)}")
    looked_at = [_look(model, verify) for model in models]
    found = [one for one, _ in looked_at]
    bundles = [bundle for _, bundle in looked_at if bundle is not None]
    if json:
        print_json({"models": [one.to_dict() for one in found], "bundles": bundles})
        return
    for bundle in bundles:
        print_line(_bundle_line(bundle))
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


def _look(path: Path, public_key: str | None) -> tuple[ModelInspection, dict[str, Any] | None]:
    """What a model holds, or that of a bundle, and what the bundle says of itself."""
    from dataclasses import replace

    from converter.packaging.parts import is_bundle, refuse_key
    from runtimes.bundle.bundle import Bundle
    from runtimes.inspection.inspect import inspect_model

    if not is_bundle(path):
        refuse_key(path, public_key)
        return inspect_model(path), None
    with Bundle.open(path, public_key=public_key) as bundle:
        found = replace(inspect_model(bundle.model), model=str(path))
        known = {"path": str(path), "digest": bundle.digest, "signed": bundle.signed}
        return found, {**known, **bundle.manifest}


def _bundle_line(bundle: Mapping[str, Any]) -> str:
    signed = "signed" if bundle["signed"] else "not signed"
    return (
        f"{bundle['path']}: bundle {bundle['name']} {bundle['version']}, "
        f"{len(bundle['files'])} files, {signed}, {bundle['digest']}"
    )


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
