"""Comparing a shard as a task for another process, here or on another machine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from runtimes.costs.this_cpu import this_cpu
from runtimes.data.dataset import Dataset
from runtimes.data.positions import shard_bounds
from runtimes.data.sample_digests import first_digest
from runtimes.engines.open_runtime import borrow
from runtimes.engines.ort import NO_SPINNING
from runtimes.engines.runtime import Runtime
from runtimes.options import KerasOptions
from runtimes.parity.candidate import Candidate
from runtimes.parity.comparison import Comparing, Comparison
from runtimes.parity.opened import open_reference
from runtimes.parity.places import Place, opened_at
from runtimes.parity.shards.part import Identity, Part
from runtimes.parity.shards.part_file import part_chunks
from runtimes.parity.shards.sent_model import SentModel
from runtimes.progress import Progress, silent
from runtimes.version import own_version


@dataclass(frozen=True)
class _Here:
    """Where a worker runs its candidate."""

    allow_fallback: bool
    device: None = None


@dataclass(frozen=True)
class ShardTask:
    """Runs both models on a shard; ``data``: what ``Dataset.open`` takes, opened there.

    ``identity``: that of the client, which a worker that has other data does not take over.
    """

    reference: SentModel
    candidate: SentModel
    keras: KerasOptions
    data: Any
    how: Comparing
    places: tuple[Place, ...]
    allow_fallback: bool
    threads: int | None
    identity: Identity

    def __call__(self, shard: tuple[int, int]) -> bytes:
        """The bytes of the part that is a shard, an index of a count."""
        session = self._session
        found = Comparison(self.how, session.reference, session.others, session.data)
        found.open(session.expected)
        return part_of(found, session.data, shard, session.identity)

    @cached_property
    def _session(self) -> _Session:
        """Opened once, for all shards that this process runs."""
        return _Session(self)


class _Session:
    """Both models and the data, open as long as the process of a worker is there."""

    def __init__(self, task: ShardTask) -> None:
        self._stack = ExitStack()
        opened = open_reference(task.reference.open(), task.keras)
        one = borrow(opened, "cpu", threads=task.threads, config=NO_SPINNING)
        self.reference: Runtime = self._stack.enter_context(one)
        here = _Here(task.allow_fallback)
        others = opened_at(task.places, task.candidate.open(), here, task.threads)
        self.others: Sequence[Candidate] = self._stack.enter_context(others)
        for other in self.others:
            tuple(other.match(self.reference))
        self.data = Dataset.open(task.data, inputs=self.reference.inputs)
        comparison = Comparison(task.how, self.reference, self.others, self.data)
        batch, self.expected = comparison.first(self.data)
        self.identity = replace(
            task.identity,
            kilnx=own_version(),
            engines=engines_of(self.reference, *(other.runtime for other in self.others)),
            total=self.data.num_samples or 0,
            block=comparison.block,
            first=first_digest(batch),
        )


def part_of(
    found: Comparison,
    data: Dataset,
    shard: tuple[int, int],
    identity: Identity,
    tell: Progress = silent,
) -> bytes:
    """The bytes of the part that ``found``, opened and empty, makes of a shard of ``data``."""
    start, stop = shard_bounds(identity.total, *shard, found.block)
    found.run(data.shard(*shard, block=found.block), tell)
    part = Part(identity, start, stop, found.state(), this_cpu())
    return b"".join(part_chunks(part))


def engines_of(*runtimes: Runtime) -> str:
    """What runs models, with versions."""
    return ", ".join(dict.fromkeys(f"{one.engine} {one.version}" for one in runtimes))
