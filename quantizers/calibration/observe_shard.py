"""Calibrating one shard of the data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import onnx_ir as ir

from quantizers.calibration.calibrate import plan_passes
from quantizers.calibration.kept_samples import wanted_positions
from quantizers.calibration.shard_statistics import (
    DIGEST_BITS,
    Identity,
    ShardStatistics,
)
from quantizers.calibration.statistics import observe
from quantizers.options import DEFAULT_OPTIONS, QuantizeOptions
from quantizers.policy.plan import make_plan
from quantizers.rewrites.prepare import prepare
from runtimes.array_file import canonical_json
from runtimes.base import Array, Feed
from runtimes.costs.this_cpu import this_cpu
from runtimes.data.batches import Batch
from runtimes.data.dataset import Dataset
from runtimes.data.positions import shard_bounds
from runtimes.errors import DataError
from runtimes.onnx_files.digest import model_digest
from runtimes.onnx_files.load_save import model_inputs
from runtimes.progress import Progress
from runtimes.version import installed_version, own_version


@dataclass(frozen=True)
class Place:
    """Where data lie in the whole.

    Attributes:
        shard: Which of how many equal shards of the data to observe, from 0.
        offset: Position of the first sample of the data in the whole.
        total: Samples of the whole; None: the data are the whole.
    """

    shard: tuple[int, int] = (0, 1)
    offset: int = 0
    total: int | None = None


def observe_shard(
    model: ir.Model,
    data: Dataset,
    place: Place = Place(),
    *,
    options: QuantizeOptions = DEFAULT_OPTIONS,
    progress: Progress | None = None,
) -> ShardStatistics:
    """The statistics of one shard of ``data``, for ``merge_all``.

    ``model`` as ``quantize_model`` takes it. Raises ``DataError`` for data that do not say how many
    samples they hold, that do not fit, or that do not begin where blocks do.
    """
    source = prepare(model)
    data = data.bind(model_inputs(source))
    plan = make_plan(source.graph, form=options.qdq)
    names = [str(value.name) for value in plan.possible_values()]
    passes = plan_passes(source, data, names, options)
    total = _total(data, place, passes.block)
    start, stop = shard_bounds(data.num_samples or 0, *place.shard, passes.block)
    part = data.shard(*place.shard, block=passes.block)
    recorder = _Recorder(place.offset, frozenset(wanted_positions(total)), stop - start)
    statistics = observe(source, plan, part.changed(recorder), options, progress, passes=passes)
    identity = Identity(
        model_digest(model),
        own_version(),
        installed_version(_ENGINES) or "unknown",
        total,
        passes.batch,
        passes.block,
        tuple(map(len, passes.values)),
        _first(data) if place.offset == 0 else None,
    )
    return ShardStatistics(
        identity,
        ((place.offset + start, place.offset + stop),),
        recorder.digest,
        statistics,
        recorder.kept,
        frozenset({this_cpu()}),
    )


_ENGINES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino")


def _total(data: Dataset, place: Place, block: int) -> int:
    """Samples of the whole; ``DataError`` where the data cannot lie in it as they should."""
    own = data.num_samples
    if own is None or not data.is_whole:
        raise DataError(
            f"{data.name} does not say how many samples it holds, or is a part of other data; "
            "statistics need positions: give a file, a folder or arrays"
        )
    total = own if place.total is None else place.total
    if place.offset % block:
        raise DataError(
            f"the offset {place.offset} is no multiple of {block}, the samples that are run "
            "together; cut the data at multiples of it"
        )
    if not 0 <= place.offset <= total - own:
        raise DataError(
            f"{own} samples from position {place.offset} on do not lie among {total}; correct "
            "offset or total"
        )
    if own % block and place.offset + own != total:
        raise DataError(
            f"{data.name} holds {own} samples, no multiple of {block}, and is not the end of the "
            f"{total}; cut the data at multiples of {block}"
        )
    return total


@dataclass
class _Recorder:
    """Sees every batch on its way to the model, once or several times."""

    offset: int
    wanted: frozenset[int]
    left: int  # samples of the first pass; later ones are the same
    kept: dict[int, dict[str, Array]] = field(default_factory=dict)
    digest: int = 0

    def __call__(self, batch: Batch) -> Batch:
        if self.left > 0:
            self.left -= len(batch)
            for row, index in enumerate(batch.indices):
                sample = {name: values[row, ...] for name, values in batch.feed.items()}
                self._take(self.offset + int(index), sample)
        return batch

    def _take(self, position: int, sample: Feed) -> None:
        self.digest = (self.digest + sample_digest(position, sample)) % 2**DIGEST_BITS
        if position in self.wanted:
            self.kept[position] = {name: array.copy() for name, array in sample.items()}


def sample_digest(position: int, sample: Feed) -> int:
    """SHA-256 of a sample and its position, as a number."""
    digest = hashlib.sha256(position.to_bytes(8, "little"))
    for name, array in sorted(sample.items()):
        digest.update(f"{name}\0{array.dtype.str}{array.shape}".encode())
        if array.dtype.kind in "OUS":
            digest.update(canonical_json([str(one) for one in array.reshape(-1)]))
        else:
            digest.update(array.tobytes())
    return int.from_bytes(digest.digest(), "little")


def _first(data: Dataset) -> str:
    """Digest of sample 0, in hexadecimal."""
    batch = next(iter(data.batches(1)))
    return f"{sample_digest(0, {name: array[0, ...] for name, array in batch.feed.items()}):064x}"
