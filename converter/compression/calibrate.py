"""``calibrate``: what quantization has to know of the data, shard by shard, in a file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import onnx_ir as ir

from converter.compression.simplify import simplified
from converter.compression.targeted import fitted, open_target
from quantizers.calibration.calibrate import block_size
from quantizers.calibration.observe_shard import Place, observe_shard
from quantizers.calibration.shard_statistics import ShardStatistics, merge_all
from quantizers.calibration.shard_task import CalibrationTask
from quantizers.calibration.statistics_file import is_statistics, parse_statistics, write_statistics
from quantizers.options import QuantizeOptions
from quantizers.rewrites.prepare import refuse_quantized
from runtimes.atomic_files import refuse_existing
from runtimes.data.dataset import Dataset
from runtimes.data.positions import parsed_shard
from runtimes.distributed.map_shards import count_workers, map_shards
from runtimes.errors import DataError, ModelError
from runtimes.onnx_files.load_save import (
    ModelSource,
    load_model,
    model_inputs,
    refuse_nan_weights,
)
from runtimes.options import RunOptions, flat_options
from runtimes.readable import ReadableReport
from runtimes.targets import Target

# Smaller pieces than one a worker: the slowest one holds up less, and less is repeated.
_SHARDS_A_WORKER = 4


@dataclass(frozen=True)
class CalibrateOptions:
    """Which samples ``calibrate`` runs, and where.

    Attributes:
        shard: Which of how many equal shards of the data, from 0: ``(0, 4)`` or ``"0/4"``.
        offset: Position of the first sample of the data in the whole, where they are a part.
        total: Samples of the whole, where the data are a part of it.
        workers: Processes of this machine that share the work.
        cluster: Address of a Dask scheduler whose workers share it, ``tcp://host:8786``.
        target: The runtime that the model ships on, by name; None: ONNX Runtime.
        force: Whether existing statistics are replaced.
    """

    shard: tuple[int, int] | str | None = None
    offset: int = 0
    total: int | None = None
    workers: int = 1
    cluster: str | None = None
    target: Target | str | None = None
    force: bool = False


@dataclass(frozen=True)
class CalibrationReport(ReadableReport):
    """What is in a file of statistics.

    ``model``: digest of the graph. ``samples`` of ``total`` were run, those of the ``intervals``
    (first, and first behind the last); ``kept`` of them are in the file themselves. ``values``: how
    many activations were observed. ``digest``: of the samples, in hexadecimal.
    """

    model: str
    samples: int
    total: int
    intervals: tuple[tuple[int, int], ...]
    kept: int
    values: int
    digest: str

    def headline(self) -> str:
        """The outcome in one line."""
        return (
            f"{self.samples} of {self.total} samples observed, {self.values} activations; "
            f"{self.kept} samples are kept"
        )


@flat_options(options=CalibrateOptions, run=RunOptions)
def calibrate(
    model: ModelSource,
    output: str | os.PathLike[str] | None,
    data: Any,
    *,
    options: CalibrateOptions = CalibrateOptions(),
    run: RunOptions = RunOptions(),
) -> CalibrationReport:
    """Run a model over data and write what ``quantize`` has to know of them to ``output``.

    The files of all shards, given to ``quantize(statistics=...)``, make the model that the data
    themselves make, byte for byte: for any number of shards and workers, merged in any order. Some
    hundreds of the samples are kept in the files, because later steps run them. The fields of both
    dataclasses are taken as keywords, too.

    Args:
        model: An ONNX file or an ``onnx_ir.Model``, in float.
        output: The file of statistics to write; None writes nothing.
        data: What ``Dataset.open`` takes: the whole, of which ``shard`` is run, or a part of it,
            with ``offset`` and ``total``.
        options: Which samples, and where they run.
        run: Threads and progress.

    Returns:
        What is in the file.

    Raises:
        ModelError: The file is not a float ONNX model, or the target does not run it.
        DataError: The data do not fit, there is no such shard, or ``output`` exists.
        RuntimeUnavailable: The cluster does not answer, or workers die again and again.

    Example:
        >>> calibrate("model.onnx", "part.stats", "samples.npz", shard="0/2").samples
        32
    """
    if output is not None:
        refuse_existing(output, force=options.force, inputs=(model, data), ours=is_statistics)
    place = _place(options)
    reference = prepared_for(model, options.target)
    quantize_options = options_of(options.target, run.threads)
    if options.workers > 1 or options.cluster is not None:
        found = _by_workers(reference, data, quantize_options, options, run)
    else:
        found = observe_shard(
            reference, Dataset.open(data), place, options=quantize_options, progress=run.tell
        )
    if output is not None:
        write_statistics(output, found, force=options.force, inputs=(model, data))
    return _report(found)


def prepared_for(model: ModelSource, target: Target | str | None) -> ir.Model:
    """The graph that ``quantize`` starts from, and that statistics are of."""
    opened = open_target(target, None)
    if opened.int8 is None:
        raise ModelError(f"nothing is to be calibrated: {opened.no_int8}")
    source = load_model(model)
    refuse_quantized(source)
    refuse_nan_weights(source, str(model) if source is not model else "the model")
    reference, _ = simplified(source)
    return fitted(reference, opened, int8=True)


def options_of(target: Target | str | None, threads: int) -> QuantizeOptions:
    """The options of ``quantize`` that decide what is observed, and how."""
    form = open_target(target, None).int8
    plain = QuantizeOptions(threads=threads)
    return plain if form is None else replace(plain, form=form)


def _place(options: CalibrateOptions) -> Place:
    shard = parsed_shard(options.shard or (0, 1))
    if options.total is None and options.offset:
        raise DataError("an offset alone does not say where the data lie; give the total, too")
    several = options.workers > 1 or options.cluster is not None
    if several and (options.shard is not None or options.total is not None):
        raise DataError("workers share the whole data: leave out shard, offset and total")
    return Place(shard, options.offset, options.total)


def _by_workers(
    reference: ir.Model,
    data: Any,
    quantize_options: QuantizeOptions,
    options: CalibrateOptions,
    run: RunOptions,
) -> ShardStatistics:
    """The statistics of all shards, each run by a worker, merged as they come."""
    opened = Dataset.open(data, inputs=model_inputs(reference))
    if opened.num_samples is None:
        raise DataError(f"{opened.name} does not say how many samples it holds; give a file")
    if isinstance(data, str | os.PathLike):
        data = Dataset.open(data)  # which another process opens likewise, from any folder
    blocks = -(-opened.num_samples // block_size(reference, quantize_options))
    sharing = count_workers(workers=options.workers, cluster=options.cluster)
    count = min(blocks, _SHARDS_A_WORKER * sharing)
    task = CalibrationTask.of(reference, data, quantize_options)
    shards = [(index, count) for index in range(count)]
    with map_shards(task, shards, workers=options.workers, cluster=options.cluster) as results:
        return merge_all(_parsed(results, count, run))


def _parsed(
    results: Iterable[tuple[tuple[int, int], bytes]], count: int, run: RunOptions
) -> Iterable[ShardStatistics]:
    for done, ((index, _), raw) in enumerate(results, 1):
        run.tell("calibrating shards", done, count)
        yield parse_statistics(raw, f"shard {index}/{count}")


def _report(one: ShardStatistics) -> CalibrationReport:
    return CalibrationReport(
        one.identity.model,
        one.statistics.samples,
        one.identity.total,
        one.intervals,
        len(one.kept),
        len(one.statistics.observers),
        f"{one.digest:064x}",
    )
