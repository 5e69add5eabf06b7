"""``kilnx dedupe``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from converter.cli.options import Force, Json, MaxDrop, Metric
from converter.console import print_json, print_line, print_rows, progress


def dedupe(
    models: Annotated[list[Path], typer.Argument(help="ONNX files, or one store.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The ONNX file, or the store, to write."),
    ] = None,
    add: Annotated[
        list[Path] | None, typer.Option(help="An ONNX file to add to the store; again for more.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every byte of the store again and check it.")
    ] = False,
    extract: Annotated[
        str | None, typer.Option(help="A model of the store to write as a file of its own.")
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="What a model is called in the store, one for each.")
    ] = None,
    near: Annotated[
        float | None,
        typer.Option(help="Merge weights that differ by this share at most; needs --data.", min=0),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Samples that judge what --near does.")
    ] = None,
    metric: Metric = None,
    max_drop: MaxDrop = 0.01,
    force: Force = False,
    json: Json = False,
) -> int:
    """Store equal weights once: inside a model, or across several in a store that they share.

    One model and -o FILE.onnx: the model with each weight once. Several and -o FOLDER: a store,
    whose files ONNX Runtime opens as they are. A store and --add, --verify or --extract: what
    they say.
    """
    from converter import sharing_command as command

    if verify or extract is not None or add:
        code, document = command.on_store(
            models,
            output,
            add=add or [],
            verify=verify,
            extract=extract,
            names=name,
            force=force,
        )
    else:
        with progress() as say:
            say(f"reading {len(models)} models")
            code, document = command.on_models(
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
        print_json(document.to_dict())
        return code
    print_rows(document.rows())
    for line in document.lines():
        print_line(line)
    return code
