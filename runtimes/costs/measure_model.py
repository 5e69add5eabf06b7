"""Measuring the kernels of models, for its own machine or for another one's searches."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtimes.atomic_files import refuse_existing
from runtimes.costs.machine import Machine
from runtimes.costs.open_costs import Costs, open_costs
from runtimes.costs.predict import Prediction
from runtimes.costs.table import CostTable
from runtimes.costs.workbench import LocalWorkbench, Workbench
from runtimes.data.timing_inputs import made_up_inputs
from runtimes.engines.batching import fixed_batch
from runtimes.engines.elsewhere import Elsewhere
from runtimes.errors import DataError
from runtimes.onnx_files.load_save import load_model, model_inputs
from runtimes.readable import ReadableReport


@dataclass(frozen=True)
class CostsReport(ReadableReport):
    """The predicted latency at each batch size, and how many kernels the table holds."""

    model: str
    machine: str
    kernels: int
    predictions: tuple[tuple[int, Prediction], ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "model": self.model,
            "machine": self.machine,
            "kernels": self.kernels,
            "predictions": [
                {
                    "batch": batch,
                    "microseconds": one.microseconds,
                    "uncertainty": one.uncertainty,
                    "kernels": [
                        {"kernel": ran.kernel.signature, "times": ran.times, "microseconds": time}
                        for ran, time in one.kernels
                    ],
                }
                for batch, one in self.predictions
            ],
            "notes": list(self.notes),
        }

    def headline(self) -> str:
        """The predicted latency at the first batch size."""
        batch, first = self.predictions[0]
        return (
            f"{self.model}: {first.microseconds / 1e3:.3f} ms at batch {batch} predicted, "
            f"± {first.uncertainty / max(first.microseconds, 1e-9):.0%}, on {self.machine}"
        )

    def rows(self) -> list[dict[str, str]]:
        """One row an operator type: how many kernels, and their time at each batch size."""
        found: dict[str, dict[int, float]] = {}
        counts: dict[str, int] = {}
        for batch, one in self.predictions:
            for ran, time in one.kernels:
                operator = ran.kernel.op_type
                of_batch = found.setdefault(operator, {})
                of_batch[batch] = of_batch.get(batch, 0.0) + time
                if batch == self.predictions[0][0]:
                    counts[operator] = counts.get(operator, 0) + ran.times
        first = self.predictions[0][0]
        ordered = sorted(found.items(), key=lambda item: -item[1].get(first, 0.0))
        return [
            {"operator": operator, "kernels": str(counts.get(operator, 0))}
            | {f"batch {batch}": f"{times.get(batch, 0.0):.1f} µs" for batch, _ in self.predictions}
            for operator, times in ordered
        ]


def measure_models(
    models: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None = None,
    *,
    batch: Sequence[int] = (1,),
    threads: int = 1,
    device: Elsewhere | None = None,
) -> tuple[CostsReport, ...]:
    """Measure the kernels of ``models`` that this machine's table lacks; one report a model.

    ``output``: a cost table to write, with all that is known of this machine. One that is there
    already is extended; raises ``DataError`` where that is another file, or a table of another
    machine, and ``ModelError`` for what is no model. ``device``: the machine that measures in place
    of this one.
    """
    bench: Workbench = LocalWorkbench() if device is None else device.workbench()
    before = None if output is None else _extensible(Path(output), bench.machine(threads))
    costs = open_costs(threads=threads, bench=bench)
    reports = tuple(_measure(Path(model), costs, batch) for model in models)
    if output is not None:
        if before is not None:
            before.merge(costs.table)
        with _explained(Path(output)):
            (before or costs.table).write(output)
    return reports


def _measure(model: Path, costs: Costs, batch: Sequence[int]) -> CostsReport:
    inputs = model_inputs(load_model(model))
    fixed = fixed_batch(inputs)
    sizes = [fixed] if fixed is not None else list(dict.fromkeys(batch))
    found = tuple((size, costs.predict(model, made_up_inputs(inputs, size).feed)) for size in sizes)
    return CostsReport(str(model), str(costs.table.machine), len(costs.table), found, costs.notes)


def _extensible(path: Path, machine: Machine) -> CostTable | None:
    """The table at ``path``, if there is any; raises ``DataError`` for what may not be replaced."""
    if not path.exists():
        refuse_existing(path, force=False)
        return None
    table = CostTable.read(path)
    if table.machine != machine:
        raise DataError(
            f"{path} is a table of another machine ({table.machine}); choose another output"
        )
    return table


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
