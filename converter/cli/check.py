"""``kilnx check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from converter.cli.console import print_json, print_line, print_rows, progress
from converter.cli.options import (
    AllowFallback,
    Custom,
    Data,
    ImageOffset,
    ImageScale,
    ImageSize,
    Json,
    Metric,
    OnnxFile,
    SignatureKey,
    Strict,
    Unsafe,
    Weights,
    custom_of,
    data_of,
)


def check(
    reference: Annotated[Path, typer.Argument(help="An ONNX file, or what convert takes.")],
    candidate: OnnxFile,
    data: Data,
    metric: Metric = None,
    max_drop: Annotated[float | None, typer.Option(help="Acceptable loss of the metric.")] = None,
    rtol: Annotated[float | None, typer.Option(help="Relative tolerance, element-wise.")] = None,
    atol: Annotated[float | None, typer.Option(help="Absolute tolerance, element-wise.")] = None,
    min_agreement: Annotated[
        float | None, typer.Option(help="Floor of top-1 agreement, 0 to 1.")
    ] = None,
    min_sqnr: Annotated[float | None, typer.Option(help="Floor of SQNR, dB.")] = None,
    provider: Annotated[
        list[str] | None, typer.Option(help="Where the candidate runs; may be given again.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Samples a run at most.", min=1)] = 32,
    image_size: ImageSize = None,
    image_scale: ImageScale = None,
    image_offset: ImageOffset = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Compare layer by layer; name the one that departs.")
    ] = False,
    optimization: Annotated[
        list[str] | None,
        typer.Option(
            help="ONNX Runtime's level: disabled, basic, extended or all; may be given again."
        ),
    ] = None,
    allow_fallback: AllowFallback = False,
    strict: Strict = False,
    custom: Custom = None,
    unsafe: Unsafe = False,
    signature_key: SignatureKey = None,
    weights: Weights = None,
    json: Json = False,
) -> int:
    """Run two models on the same data and judge whether one may stand for the other."""
    from runtimes.parity.check import check as run
    from runtimes.parity.verdict import UNSURE

    source: Any = reference
    if unsafe or any(option is not None for option in (custom, signature_key, weights)):
        from runtimes.keras_models.load import load_keras_model

        source = load_keras_model(
            reference,
            custom_objects=custom_of(custom),
            unsafe=unsafe,
            signature_key=signature_key,
            weights=weights,
        )
    with progress() as say:
        say(f"checking {candidate} against {reference}")
        report = run(
            source,
            candidate,
            data_of(data, image_size, image_scale, image_offset),
            metric=metric,
            max_drop=max_drop,
            providers=tuple(provider or ("cpu",)),
            rtol=rtol,
            atol=atol,
            min_agreement=min_agreement,
            min_sqnr=min_sqnr,
            batch_size=batch_size,
            layers=layers,
            strict=strict,
            optimizations=_levels(optimization),
            allow_fallback=allow_fallback,
        )
    if json:
        print_json(report.to_dict())
    else:
        print_rows(report.rows())
        if report.layers:
            print_rows(report.layers.rows(), title="layer by layer")
            print_line(report.layers.reason)
        for placement in report.placements:
            if len(report.placements) > 1 or placement.elsewhere:
                print_line(f"placement: {placement}")
        for note in report.notes:
            print_line(f"note: {note}")
        verdict = "passed" if report.passed else "FAILED"
        if report.verdict == UNSURE:
            verdict += f" ({UNSURE})"
        print_line(f"{verdict}: {report.reason}")
    return 0 if report.passed else 1


def _levels(names: list[str] | None) -> Any:
    from runtimes.errors import DataError

    known = ("disabled", "basic", "extended", "all")
    for name in names or ():
        if name not in known:
            raise DataError(f"--optimization {name}: there are {', '.join(known)}")
    return tuple(names or ("all",))
