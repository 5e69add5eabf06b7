"""``kilnx convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from converter.cli.console import print_json, print_line, print_rows
from converter.cli.groups import KerasGroup, grouped
from converter.cli.options import Force, Json, OutputFile, Target
from converter.cli.progress import progress


@grouped
def convert(
    model: Annotated[
        Path,
        typer.Argument(
            help="A .keras or HDF5 file, a model in JSON with --weights, or a SavedModel folder."
        ),
    ],
    output: OutputFile,
    keras: KerasGroup,
    opset: Annotated[int | None, typer.Option(help="ONNX opset; 18 otherwise.")] = None,
    target_ort: Annotated[
        str | None, typer.Option(help="Oldest ONNX Runtime that must open it, such as 1.16.")
    ] = None,
    target: Target = None,
    layout: Annotated[
        Literal["nhwc", "nchw"], typer.Option(help="Channels of image inputs last or first.")
    ] = "nhwc",
    data: Annotated[
        Path | None, typer.Option(help="Samples to compare on; random ones otherwise.")
    ] = None,
    stateful: Annotated[
        bool,
        typer.Option("--stateful", help="Make the states of stateful RNNs inputs and outputs."),
    ] = False,
    force: Force = False,
    json: Json = False,
) -> None:
    """Export a Keras model to ONNX; the file appears only once its outputs match Keras."""
    from converter.export import convert as command

    with progress() as say:
        say(f"converting {model}")
        report = command.convert(
            model,
            output,
            options=command.ConvertOptions(
                *(opset, target_ort, layout, data),
                stateful=stateful,
                force=force,
                target=target,
            ),
            keras=keras.keras(),
        )
    if json:
        print_json(report.to_dict())
        return
    print_line(report.headline())
    print_line(f"inputs   {', '.join(report.inputs)}")
    print_line(f"outputs  {', '.join(report.outputs)}")
    print_rows(report.rows())
    for note in report.notes:
        print_line(f"note: {note}")
