"""``kilnx check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from converter.cli.console import print_json, print_line, print_rows
from converter.cli.groups import BudgetGroup, DeviceGroup, ImageGroup, KerasGroup, RunGroup, grouped
from converter.cli.options import AllowFallback, Data, Force, Json, OnnxFile, Target
from converter.cli.progress import progress
from converter.cli.shard_groups import CompareGroup
from runtimes.engines.provider_names import PROVIDER_NAMES


@grouped
def check(
    reference: Annotated[Path, typer.Argument(help="An ONNX file, or what convert takes.")],
    candidate: OnnxFile,
    data: Data,
    images: ImageGroup,
    budget: BudgetGroup,
    keras: KerasGroup,
    run: RunGroup,
    device: DeviceGroup,
    shards: CompareGroup,
    rtol: Annotated[float | None, typer.Option(help="Relative tolerance, element-wise.")] = None,
    atol: Annotated[float | None, typer.Option(help="Absolute tolerance, element-wise.")] = None,
    provider: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Where the candidate runs: {', '.join(PROVIDER_NAMES)}; repeatable.",
            metavar="NAME",
        ),
    ] = None,
    target: Target = None,
    batch_size: Annotated[int, typer.Option(help="Samples a run at most.", min=1)] = 32,
    layers: Annotated[
        bool, typer.Option("--layers", help="Compare layer by layer; name the one that departs.")
    ] = False,
    optimization: Annotated[
        list[str] | None,
        typer.Option(
            help="ONNX Runtime's level: disabled, basic, extended or all; repeatable.",
            metavar="LEVEL",
        ),
    ] = None,
    allow_fallback: AllowFallback = False,
    force: Force = False,
    json: Json = False,
) -> int:
    """Run two models on the same data and judge whether one may stand for the other."""
    levels = _levels(optimization)
    from runtimes.parity import check as command

    options = command.CheckOptions(
        tuple(provider or ("cpu",)),
        levels,
        allow_fallback,
        rtol,
        atol,
        batch_size,
        layers,
        device=device.open(),
        target=target,
        spread=None if shards.is_one else shards.spread(),
    )
    models = reference, candidate, images.open(data)
    with progress() as say:
        asked: dict[str, Any] = {
            "budget": budget.budget(),
            "options": options,
            "keras": keras.keras(),
            "run": run.run(say),
        }
        if shards.is_one:
            return _one_shard(models, shards, asked, force=force, json=json)
        report = command.check(*models, **asked)
    if json:
        print_json(report.to_dict())
    else:
        print_line(report.headline())
        print_rows(report.rows())
        if report.stress:
            print_rows(report.stress.rows(), title="under stress")
        if report.layers:
            print_rows(report.layers.rows(), title="layer by layer")
            print_line(report.layers.reason)
        for placement in report.placements:
            if len(report.placements) > 1 or placement.elsewhere or placement.layers:
                print_line(f"placement: {placement}")
        for note in report.notes:
            print_line(f"note: {note}")
    return 0 if report.passed else 1


def _one_shard(
    models: tuple[Any, Any, Any],
    shards: CompareGroup,
    asked: dict[str, Any],
    *,
    force: bool,
    json: bool,
) -> int:
    """Compare a shard, and write what ``--parts`` judges by."""
    from runtimes.parity.shards.compare_files import ShardOptions, compare_shard

    assert shards.output is not None
    options = ShardOptions(**vars(asked.pop("options")), shard=shards.shard, force=force)
    report = compare_shard(*models, shards.output, options=options, **asked)
    if json:
        print_json(report.to_dict())
    else:
        print_line(f"{shards.output}: {report.headline()}")
    return 0


def _levels(names: list[str] | None) -> Any:
    from runtimes.errors import DataError
    from runtimes.suggestions import did_you_mean

    known = ("disabled", "basic", "extended", "all")
    for name in names or ():
        if name not in known:
            raise DataError(
                f"--optimization {name!r}{did_you_mean(name, known)}: there are {', '.join(known)}"
            )
    return tuple(names or ("all",))
