"""Shards that were compared elsewhere, by whatever scheduler, and are in files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runtimes.atomic_files import refuse_existing
from runtimes.data.positions import parsed_shard
from runtimes.options import KerasOptions, RunOptions, flat_options
from runtimes.parity.budget import Budget
from runtimes.parity.check_options import CheckOptions
from runtimes.parity.comparison import Comparison
from runtimes.parity.opened import opened_models
from runtimes.parity.shards.part_file import is_part, parse_part, read_part, write_part
from runtimes.parity.shards.shard_task import part_of
from runtimes.parity.shards.work import SentModels, Work, refuse_spread, work_of
from runtimes.progress import Progress
from runtimes.readable import ReadableReport


@dataclass(frozen=True)
class CompareFiles:
    """The files that ``compare_shard`` wrote, of all shards: ``check`` judges by them."""

    paths: Sequence[str | os.PathLike[str]]

    far = False

    def __call__(self, found: Comparison, work: Work, tell: Progress) -> tuple[str, ...]:
        """Let ``found`` absorb the shards of the files."""
        return work.absorb(found, map(read_part, self.paths))


@dataclass(frozen=True)
class ShardReport(ReadableReport):
    """What is in a shard's file: the samples from ``start`` to before ``stop`` of ``total``."""

    reference: str
    candidate: str
    start: int
    stop: int
    total: int

    def headline(self) -> str:
        """The outcome in one line."""
        return f"the samples {self.start} to {self.stop - 1} of {self.total} compared"


@dataclass(frozen=True)
class ShardOptions(CheckOptions):
    """How ``compare_shard`` compares, and which shard.

    As in ``CheckOptions`` are ``providers``, ``optimizations``, ``allow_fallback``, ``rtol``,
    ``atol``, ``batch_size``, ``target`` and ``device``; ``layers``, ``stressed`` and ``spread``
    mean nothing here.

    Attributes:
        shard: Which of how many equal shards of the data, from 0: ``(0, 4)`` or ``"0/4"``.
        force: Whether an existing file of a shard is replaced.
    """

    shard: tuple[int, int] | str | None = None
    force: bool = False


@flat_options(budget=Budget, options=ShardOptions, keras=KerasOptions, run=RunOptions)
def compare_shard(
    reference: Any,
    candidate: Any,
    data: Any,
    output: str | os.PathLike[str],
    *,
    budget: Budget = Budget(),
    options: ShardOptions = ShardOptions(),
    keras: KerasOptions = KerasOptions(),
    run: RunOptions = RunOptions(),
) -> ShardReport:
    """Run both models on a shard of the data and write to ``output`` what ``check`` judges by.

    ``check(spread=CompareFiles(...))`` over the files of all shards, with the same options, gives
    the report that it gives without shards, for any number of them.

    Args:
        reference: The path of a model, or an ``onnx_ir.Model``.
        candidate: The same.
        data: What ``Dataset.open`` takes, all of it.
        output: The file to write.
        budget: As for ``check``.
        options: As for ``check``, and which shard.
        keras: As for ``check``.
        run: As for ``check``.

    Returns:
        Which samples are in the file.

    Raises:
        DataError: There is no such shard, ``output`` exists, or what ``check`` raises.
        ModelError: What ``check`` raises.

    Example:
        >>> part = compare_shard("model.onnx", "model.onnx", "samples.npz", "0.parity", shard="0/2")
        >>> part.start, part.stop
        (0, 32)
    """
    refuse_spread(options)
    inputs = (reference, candidate, data)
    refuse_existing(output, force=options.force, inputs=inputs, ours=is_part)
    given = SentModels(reference, candidate, keras, data)
    with opened_models(reference, candidate, data, budget, options, keras, run) as opened:
        found = Comparison(opened.how, opened.reference, opened.others, opened.samples)
        work = work_of(opened, given, found, far=False, threads=run.threads)
        raw = part_of(
            found, opened.samples, parsed_shard(options.shard or (0, 1)), work.identity, run.tell
        )
        names = opened.reference.name, opened.others[0].runtime.name
    write_part(output, raw, force=options.force, inputs=inputs)
    part = parse_part(raw, str(output))
    return ShardReport(*names, part.start, part.stop, work.total)
