"""Cuts a model into stages whose times balance and between which few bytes travel."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from runtimes.atomic_files import all_files, atomic_folder, file_digest
from runtimes.base import Feed
from runtimes.costs import CostsSource, open_costs
from runtimes.data.dataset import Dataset
from runtimes.data.timing_inputs import made_up_inputs, sampled_inputs
from runtimes.engines.batching import fixed_batch
from runtimes.errors import BudgetError, DataError
from runtimes.onnx_files.load_save import ModelSource, load_model, model_inputs, write_model
from runtimes.onnx_graph.node_names import with_node_names
from runtimes.options import RunOptions, flat_options
from runtimes.stages.boundaries import Boundary, find_boundaries
from runtimes.stages.choose import choose_places
from runtimes.stages.costing import look_at_values, segments_of, times_of_nodes
from runtimes.stages.manifest import MANIFEST, Stage, Stages, write_manifest
from runtimes.stages.open_stage import refuse_unknown_device
from runtimes.stages.optimized import machine_of_graph, optimized_graph
from runtimes.stages.proof import PROOF, SAMPLES
from runtimes.stages.prove import prove
from runtimes.stages.report import PartitionReport, StageRow
from runtimes.stages.split import split_graph, value_names

# Of more places than this, those that the fewest bytes cross are looked at.
_MOST_PLACES = 1500


@dataclass(frozen=True)
class PartitionOptions:
    """How a model is cut.

    Attributes:
        stages: How many stages there are; None: as few as ``max_bytes`` allows, or one for each of
            ``devices``.
        max_bytes: The most bytes of weights that a stage may have.
        devices: Where each stage will run: a provider such as ``cpu`` or ``cuda:0``, the address of
            a server that has it under its name, or of a model there. Only written into
            ``stages.json``.
        exact: Whether to cut the graph as ONNX Runtime optimizes it on this machine: bit for bit
            the same answers, on this kind of processor and with this version only.
        even_if_slower: Whether stages are written that as many copies of the whole model outrun.
        timed_batch: The batch size that is timed.
        costs: The cost table that decides, see ``runtimes.costs``.
    """

    stages: int | None = None
    max_bytes: int | None = None
    devices: Sequence[str] = ()
    exact: bool = False
    even_if_slower: bool = False
    timed_batch: int = 1
    costs: CostsSource = None

    @property
    def count(self) -> int | None:
        """The number of stages that was asked for."""
        return self.stages or (len(self.devices) or None)

    def refuse_nonsense(self) -> None:
        """Raise ``DataError`` unless they say into what a model is cut."""
        if self.stages is None and self.max_bytes is None and len(self.devices) < 2:
            raise DataError(
                "say into what the model is cut: how many stages, the most bytes of weights in "
                "each (max_bytes), or a device for each"
            )
        for device in self.devices:
            refuse_unknown_device(device)
        if self.stages is not None and self.stages < 2:
            raise DataError(f"{self.stages} stages are no partition; there are 2 at least")
        if self.devices and self.stages not in (None, len(self.devices)):
            raise DataError(f"{len(self.devices)} devices are given for {self.stages} stages")


@flat_options(options=PartitionOptions, run=RunOptions)
def partition(
    model: ModelSource,
    output: str | os.PathLike[str],
    data: Any = None,
    *,
    options: PartitionOptions = PartitionOptions(),
    run: RunOptions = RunOptions(),
    force: bool = False,
) -> PartitionReport:
    """Cut ``model`` into stages, prove that they answer like the whole, and write them.

    The times of the stages balance within 5% of the best possible cut, and of all such cuts the
    one that moves the fewest bytes is taken. Times are those of the machine's cost table, so the
    same model is always cut in the same places. On equal devices, as many copies of the whole model
    answer more requests than its stages do: then nothing is written, unless weights have to be
    divided (``max_bytes``), the devices differ, or ``even_if_slower`` says so. The fields of the
    dataclasses can also be given as keywords.

    Args:
        model: The path of an ONNX file, or a graph.
        output: The folder to write: ``stages.json`` and an ONNX file for each stage.
        data: What ``Dataset.open`` takes, to look at sizes and to prove the stages with; None makes
            up samples.
        options: How it is cut.
        run: Threads, seed and progress.
        force: Whether a folder of stages may be replaced.

    Returns:
        The stages, what crosses between them, and how both add up.

    Raises:
        BudgetError: As many copies of the whole model would be faster.
        DataError: There is no such cut, or the output may not be written.
        ModelError: The stages would not answer like the whole model.

    Example:
        >>> report = partition("model.onnx", "stages", stages=2, even_if_slower=True)
        >>> len(report.stages)
        2
    """
    options.refuse_nonsense()
    with atomic_folder(output, force=force, inputs=[model], foreign=_foreign) as folder:
        whole = load_model(model)
        inputs = model_inputs(whole)
        size = fixed_batch(inputs) or options.timed_batch
        samples = _samples(data, inputs, max(size, SAMPLES), run.seed)
        feed = sampled_inputs(samples, inputs, size).feed
        with _to_be_cut(model, whole, options, run) as graph:
            stages, report = _written(graph, folder, feed, options, run)
        write_manifest(folder, replace(stages, proof=prove(model, folder, stages, samples, run)))
        _refuse_slower(report, options)
    return report


@contextmanager
def _to_be_cut(
    model: ModelSource, whole: ir.Model, options: PartitionOptions, run: RunOptions
) -> Iterator[ir.Model]:
    """A copy of the graph in which every node has a name of its own, and values have shapes."""
    if not options.exact:
        yield _with_shapes(with_node_names(whole))
        return
    with optimized_graph(model, run.threads) as graph:
        yield _with_shapes(with_node_names(graph))


def _with_shapes(graph: ir.Model) -> ir.Model:
    """``graph`` with the shapes that follow: stages then tell which axes are free together."""
    ShapeInferencePass(check_type=False, strict_mode=False)(graph)
    return graph


def _written(
    graph: ir.Model, folder: Path, feed: Feed, options: PartitionOptions, run: RunOptions
) -> tuple[Stages, PartitionReport]:
    """Choose the places, and write the stages and what they are into ``folder``."""
    graph.graph.sort()
    nodes = list(graph.graph)
    run.tell("timing kernels")
    costs = open_costs(options.costs, threads=run.threads, progress=run.tell)
    predicted = costs.predict(graph, feed)
    times, together = times_of_nodes(nodes, predicted)
    boundaries = find_boundaries(graph.graph, nodes, () if options.exact else together)
    if not boundaries:
        raise DataError("the graph cannot be cut: all of its nodes run as one")
    run.tell("choosing where to cut")
    values = [*graph.graph.inputs, *(value for one in boundaries for value in one.values)]
    crossing = look_at_values(graph, values, feed, optimized=options.exact)
    boundaries = _lightest(boundaries, {name: one.size for name, one in crossing.items()})
    segments = segments_of(nodes, boundaries, times, crossing)
    places = choose_places(segments, stages=options.count, max_bytes=options.max_bytes)
    positions = [boundaries[place - 1].position for place in places]
    parts = split_graph(graph, nodes, positions, crossing)
    ends = [0, *places, segments.places - 1]
    rows = [
        StageRow(
            f"stage-{number + 1}",
            options.devices[number] if options.devices else "cpu",
            len(list(part.graph)),
            float(segments.seconds[ends[number], ends[number + 1]]),
            int(segments.weight_bytes[ends[number], ends[number + 1]]),
            int(segments.crossing[ends[number + 1]]),
        )
        for number, part in enumerate(parts)
    ]
    stages = Stages(
        value_names(graph.graph.inputs),
        value_names(graph.graph.outputs),
        tuple(_write(part, row, folder) for part, row in zip(parts, rows, strict=True)),
        machine_of_graph() if options.exact else None,
    )
    write_manifest(folder, stages)
    return stages, PartitionReport(
        tuple(rows), predicted.of_kernels, options.exact, costs.to_dict(), costs.notes
    )


def _write(part: ir.Model, row: StageRow, folder: Path) -> Stage:
    path = folder / f"{row.name}.onnx"
    write_model(part, path)
    files = {one.name: file_digest(one) for one in sorted(folder.glob(f"{path.name}*"))}
    return Stage(
        row.name,
        path.name,
        row.device,
        value_names(part.graph.inputs),
        value_names(part.graph.outputs),
        row.weight_bytes,
        row.microseconds,
        files,
    )


def _lightest(boundaries: list[Boundary], sizes: dict[str, int]) -> list[Boundary]:
    if len(boundaries) <= _MOST_PLACES:
        return boundaries
    moved = [sum(sizes[str(value.name)] for value in one.values) for one in boundaries]
    kept = np.argsort(moved, kind="stable")[:_MOST_PLACES]
    return [boundaries[place] for place in sorted(kept)]


def _samples(data: Any, inputs: Sequence[Any], size: int, seed: int) -> Dataset:
    if data is not None:
        return Dataset.open(data, inputs=inputs)
    return Dataset.open(made_up_inputs(inputs, size, seed).feed, inputs=inputs)


def _refuse_slower(report: PartitionReport, options: PartitionOptions) -> None:
    """Raise ``BudgetError`` where copies of the whole model are what should be run."""
    alike = len(set(options.devices)) < 2
    if options.max_bytes is None and alike and not options.even_if_slower:
        raise BudgetError(
            f"{report.comparison()}; stages pay where the weights do not fit (max_bytes), or where "
            "devices differ; even_if_slower writes them nevertheless"
        )


def _foreign(folder: Path) -> Iterator[str]:
    """Files of ``folder`` that are no stages of ours."""
    known = set()
    if (folder / MANIFEST).is_file():
        known = {MANIFEST, PROOF, *(p.name for p in folder.glob("stage-*.onnx*"))}
    return (name for name in all_files(folder) if name not in known)
