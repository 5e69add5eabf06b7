"""``kilnx recover``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from converter.cli.console import print_json, print_report
from converter.cli.groups import BudgetGroup, ImageGroup, RunGroup, grouped
from converter.cli.options import Data, Eval, Force, Json, KeepBest, OnnxFile, OutputFile
from converter.cli.progress import progress


@grouped
def recover(
    model: OnnxFile,
    output: OutputFile,
    teacher: Annotated[Path, typer.Option(help="The model that it was made from: ONNX or Keras.")],
    data: Data,
    images: ImageGroup,
    budget: BudgetGroup,
    run: RunGroup,
    evaluate_on: Eval = None,
    training_steps: Annotated[int, typer.Option(min=1, help="Batches of 64 to learn from.")] = 1000,
    keep_best: KeepBest = False,
    force: Force = False,
    json: Json = False,
) -> int:
    """Train a compressed ONNX model, without labels, to answer like the one it was made from."""
    from converter.compression import recover as command

    with progress() as say:
        report = command.recover(
            model,
            output,
            images.open(data),
            teacher=teacher,
            evaluate_on=images.open(evaluate_on),
            budget=budget.budget(),
            options=command.RecoverOptions(training_steps, force, keep_best),
            run=run.training(say),
        )
    if json:
        print_json(report.to_dict())
    else:
        print_report(report, place=output, notes=report.notes)
    return 0 if report.passed else 1
