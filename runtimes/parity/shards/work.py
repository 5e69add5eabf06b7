"""What a comparison is cut into."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Any

from runtimes.costs.this_cpu import this_cpu
from runtimes.data.dataset import Dataset
from runtimes.data.sample_digests import first_digest
from runtimes.errors import DataError
from runtimes.options import KerasOptions
from runtimes.parity.check_options import CheckOptions
from runtimes.parity.comparison import Comparison
from runtimes.parity.opened import OpenedModels
from runtimes.parity.shards.part import Identity, Part, in_order
from runtimes.parity.shards.sent_model import SentModel
from runtimes.parity.shards.shard_task import ShardTask, engines_of
from runtimes.version import own_version


@dataclass(frozen=True)
class SentModels:
    """Both models and the data as the user gave them, for others to open."""

    reference: Any
    candidate: Any
    keras: KerasOptions
    data: Any


@dataclass(frozen=True)
class Work:
    """``task`` compares a shard of ``total`` samples, cut at ``block``; ``identity``: of parts."""

    task: ShardTask
    identity: Identity
    total: int
    block: int

    @property
    def blocks(self) -> int:
        """So many shards there can be."""
        return -(-self.total // self.block)

    def absorb(self, found: Comparison, parts: Iterable[Part]) -> tuple[str, ...]:
        """Let ``found`` absorb parts that together are the whole; gives what to say of them.

        Raises ``DataError`` where samples are missing or come twice, or a part is of other models,
        data or versions.
        """
        every = list(parts)
        for part in every:
            part.require(self.identity)
        for part in in_order(every, self.total):
            try:
                found.absorb(part.state)
            except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
                raise DataError(f"{part.name} is damaged; compare the shard anew") from error
        others = sorted({part.cpus for part in every} - {this_cpu()})
        if not others:
            return ()
        return (
            f"compared on CPUs with {'; '.join(others)}, and this one has {this_cpu()}: their "
            "kernels may round differently",
        )


def work_of(
    opened: OpenedModels, given: SentModels, found: Comparison, *, far: bool, threads: int | None
) -> Work:
    """The work that ``found`` stands for; raises ``DataError`` for data that have no positions."""
    samples, data = opened.samples, given.data
    if samples.num_samples is None or not samples.is_whole:
        raise DataError(
            f"{samples.name} does not say how many samples it holds, or is a part of other data; "
            "shards need positions: give a file, a folder or arrays"
        )
    if isinstance(data, str | os.PathLike):
        data = Dataset.open(data)  # which another process opens likewise, from any folder
    reference = SentModel.of(given.reference, far=far)
    candidate = SentModel.of(given.candidate, far=far)
    batch, expected = found.first(samples)
    found.open(expected)
    identity = Identity(
        reference.digest(),
        candidate.digest(),
        own_version(),
        engines_of(opened.reference, *(other.runtime for other in opened.others)),
        ", ".join(place.label for place in opened.places),
        ", ".join(map(str, astuple(found.how))),
        samples.num_samples,
        found.block,
        first_digest(batch),
    )
    task = ShardTask(
        reference,
        candidate,
        given.keras,
        data,
        found.how,
        opened.places,
        opened.options.allow_fallback,
        threads,
        identity,
    )
    return Work(task, identity, samples.num_samples, found.block)


def refuse_spread(options: CheckOptions) -> None:
    """Raise ``DataError`` for options that shards cannot have."""
    if options.spread is not None and options.device is not None:
        raise DataError(
            "workers run the candidate where they are; leave out the device, or the workers"
        )
