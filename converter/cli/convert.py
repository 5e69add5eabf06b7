"""``kilnx convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from converter.cli.console import print_json, print_line, print_rows, progress
from converter.cli.options import (
    Custom,
    Force,
    Json,
    OutputFile,
    Signature,
    SignatureKey,
    Unsafe,
    Weights,
    custom_of,
    signature_of,
)


def convert(
    model: Annotated[
        Path,
        typer.Argument(
            help="A .keras or HDF5 file, a model in JSON with --weights, or a SavedModel folder."
        ),
    ],
    output: OutputFile,
    opset: Annotated[int | None, typer.Option(help="ONNX opset; 18 otherwise.")] = None,
    target_ort: Annotated[
        str | None, typer.Option(help="Oldest ONNX Runtime that must open it, such as 1.16.")
    ] = None,
    layout: Annotated[
        Literal["nhwc", "nchw"], typer.Option(help="Channels of image inputs last or first.")
    ] = "nhwc",
    signature: Signature = None,
    data: Annotated[
        Path | None, typer.Option(help="Samples to compare on; random ones otherwise.")
    ] = None,
    custom: Custom = None,
    unsafe: Unsafe = False,
    signature_key: SignatureKey = None,
    weights: Weights = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Export a Keras model to ONNX, run it and compare it with Keras before it gets its name."""
    from converter.export.convert import convert as run

    with progress() as say:
        say(f"converting {model}")
        report = run(
            model,
            output,
            signature=signature_of(signature),
            opset=opset,
            target_ort=target_ort,
            layout=layout,
            data=data,
            custom_objects=custom_of(custom),
            unsafe=unsafe,
            signature_key=signature_key,
            weights=weights,
            force=force,
        )
    if json:
        print_json(report.to_dict())
        return
    print_line(
        f"{output}: opset {report.opset}, {report.nodes} nodes, {report.parameters:,} parameters, "
        f"{report.size_bytes / 1024:,.1f} KiB"
    )
    print_line(f"inputs   {', '.join(report.inputs)}")
    print_line(f"outputs  {', '.join(report.outputs)}")
    print_rows(
        [
            {
                "proof against Keras": proof.output,
                "batch": str(proof.batch),
                "largest error": f"{proof.max_abs_error:.2e}",
                "allowed": f"{proof.allowed:.2e}",
            }
            for proof in report.proofs
        ]
    )
    for note in report.notes:
        print_line(f"note: {note}")
