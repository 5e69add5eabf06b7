"""``kilnx drift``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from converter.cli.console import print_json, print_report
from converter.cli.groups import ImageGroup, grouped
from converter.cli.options import Json
from converter.cli.progress import progress


@grouped
def drift(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or a reference.json.")],
    data: Annotated[
        Path,
        typer.Argument(
            help="Samples in the order of time: .npz, .npy, .csv, .parquet or a folder of images."
        ),
    ],
    images: ImageGroup,
    model: Annotated[
        Path | None,
        typer.Option(help="The ONNX file that serves; a bundle has it.", metavar="FILE"),
    ] = None,
    fp32: Annotated[
        Path | None,
        typer.Option(help="The ONNX file it was made from; a bundle has it.", metavar="FILE"),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            help="Probability of a false alarm.",
            show_default="the policy's, 0.01",
            min=1e-12,
            max=0.5,
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Compare data with what a model was proven on; exit 1 if they have drifted."""
    from contextlib import ExitStack
    from dataclasses import replace

    from runtimes.monitor.drift import drift as command
    from runtimes.monitor.policy import Policy

    with ExitStack() as stack, progress() as say:
        parts = _opened(bundle, stack)
        policy = Policy.from_json(parts["policy"])
        if alpha is not None:
            policy = replace(policy, alpha=alpha)
        report = command(
            parts["reference"],
            images.open(data),
            model=model or parts["model"],
            fp32=fp32 or parts["fp32"],
            policy=policy,
            progress=say,
        )
    if json:
        print_json(report.to_dict())
    else:
        print_report(report, notes=report.notes())
    return 0 if report.passed else 1


def _opened(path: Path, stack: Any) -> dict[str, Any]:
    """What a bundle holds; a reference alone has neither models nor a policy."""
    if path.suffix == ".json":
        return {"reference": path, "model": None, "fp32": None, "policy": {}}
    from runtimes.bundle import Bundle
    from runtimes.errors import DataError

    opened = stack.enter_context(Bundle.open(path))
    if opened.reference is None:
        raise DataError(
            f"{path} has no reference to compare with; package it with `kilnx package --data` "
            "of held-out samples"
        )
    return {
        "reference": opened.reference,
        "model": opened.model,
        "fp32": opened.fp32,
        "policy": opened.policy,
    }
