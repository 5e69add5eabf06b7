"""Samples to learn from, many times as many as there are data, and what the teacher says of them.

Images are warped a little, some samples are perturbed like those that a model must withstand, and
two are mixed (mixup, https://arxiv.org/abs/1710.09412); the teacher answers for what came of it, so
no label is needed and no answer is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from quantizers.training.splice import Splice
from quantizers.training.targets import Target
from quantizers.training.warp import Warp
from runtimes.base import Array, Feed
from runtimes.data.batches import Batch
from runtimes.data.dataset import Dataset
from runtimes.engines.batching import run_padded
from runtimes.engines.ort import OrtRuntime
from runtimes.onnx_graph.subgraphs import with_outputs
from runtimes.stress.mixture import Perturbation
from runtimes.stress.noise import measure_noise
from runtimes.stress.statistics import input_statistics

# Of the samples of a pool: so many are as the data have them, or at least not mixed.
_WHOLE = 0.25
# Of the passes over the data, so many are perturbed, and in so many images are warped.
_PERTURBED = 0.5
_WARPED = 0.6
# Of the samples that are mixed, so many have a part of another one, and the others are blended.
_SPLICED = 0.5
_PASS = 128
_MOST_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Group:
    """Samples of one shape: inputs and targets, both by name, the first axis the sample."""

    feed: Feed
    targets: Mapping[str, Array]

    @property
    def count(self) -> int:
        """The number of samples."""
        return len(next(iter(self.feed.values())))

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of a sample: the shapes of inputs and targets."""
        return tuple(array.shape[1:] for array in (*self.feed.values(), *self.targets.values()))

    def rows(self, places: Array) -> Group:
        """Some of the samples."""
        return Group(
            {name: array[places] for name, array in self.feed.items()},
            {name: array[places] for name, array in self.targets.items()},
        )


class Teacher:
    """What the teacher has at each target, by the output that it stands for."""

    def __init__(self, model: ir.Model, targets: Sequence[Target], threads: int = 1) -> None:
        self._targets = targets
        exposed = with_outputs(model, [target.teacher for target in targets])
        self._runtime = OrtRuntime(exposed, threads=threads)

    def __enter__(self) -> Teacher:
        """Itself; the session is closed at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give the session back."""
        self._runtime.close()

    def answers(self, feed: Feed) -> dict[str, Array]:
        """The targets for one batch of inputs."""
        found = run_padded(self._runtime, feed)
        return {target.output: found[target.teacher] for target in self._targets}


class Augmentation:
    """Warping, perturbing and mixing, the same for a ``seed``.

    ``rungs``: perturbations that models must withstand; one of them is on half of the passes.
    """

    def __init__(self, data: Dataset, rungs: Sequence[Perturbation] = (), seed: int = 0) -> None:
        self._data, self._rungs, self._seed = data, tuple(rungs), seed
        self._mixed = frozenset(measure_noise(data).spreads)
        found = input_statistics(data)
        self._images = {name: one for name, one in sorted(found.items()) if one.kind == "image"}
        self._splice = Splice(found)

    def batches(self, count: int, draw: int = 0) -> Iterator[Batch]:
        """At least ``count`` samples, in passes over the data; another ``draw``, other ones."""
        random = np.random.default_rng([self._seed, draw])
        done = 0
        for number in range(10**6):
            for batch in self._data.batches(_PASS):
                changed = self._perturb(self._warp(batch, random), random, draw * 10**6 + number)
                changed = self._mix(changed, random)
                yield changed
                done += len(changed)
            if done >= count:
                return

    def _warp(self, batch: Batch, random: np.random.Generator) -> Batch:
        if not self._images or random.random() >= _WARPED:
            return batch
        feed = dict(batch.feed)
        for name, found in self._images.items():
            feed[name] = found.kept(feed[name], Warp().on(feed[name], found.axes, random))
        return replace(batch, feed=feed)

    def _perturb(self, batch: Batch, random: np.random.Generator, number: int) -> Batch:
        if not self._rungs or random.random() >= _PERTURBED:
            return batch
        rung = self._rungs[random.integers(len(self._rungs))]
        moved = replace(batch, indices=batch.indices + number * 2**32)  # noise of its own
        return rung.on(moved)

    def _mix(self, batch: Batch, random: np.random.Generator) -> Batch:
        """Each sample with a lesser share of another one: blended, or a part of it as it is."""
        count = len(batch)
        share = random.random(count)
        share = np.maximum(share, 1 - share)
        mixed = random.random(count) >= _WHOLE
        other = random.permutation(count)
        spliced = mixed & (random.random(count) < self._spliced)
        share[~mixed | spliced] = 1.0
        feed = dict(batch.feed)
        for name in sorted(self._mixed & set(feed)):
            array = feed[name]
            part = share.reshape(-1, *[1] * (array.ndim - 1)).astype(array.dtype)
            feed[name] = part * array + (1 - part) * array[other]
        if spliced.any():
            feed = self._splice.on(feed, other, spliced, random)
        return replace(batch, feed=feed)

    @property
    def _spliced(self) -> float:
        """Of the samples that are mixed, so many are spliced: all that cannot be blended."""
        if not self._splice.is_possible:
            return 0.0
        return _SPLICED if self._mixed else 1.0


def answered(batches: Iterator[Batch], teacher: Teacher) -> list[Group]:
    """All samples of ``batches`` with the teacher's answers, in a group for each shape.

    No more than fits in a quarter of a gigabyte.
    """
    return [combined(groups, np.concatenate) for groups in by_shape(_asked(batches, teacher))]


def _asked(batches: Iterator[Batch], teacher: Teacher) -> Iterator[Group]:
    held = 0
    for batch in batches:
        group = Group(batch.feed, teacher.answers(batch.feed))
        yield group
        held += bytes_of([group])
        if held >= _MOST_BYTES:
            return


def by_shape(groups: Iterable[Group]) -> list[list[Group]]:
    """Those whose samples are of one shape next to each other."""
    parts: dict[tuple[object, ...], list[Group]] = {}
    for group in groups:
        parts.setdefault(group.shapes, []).append(group)
    return list(parts.values())


def bytes_of(groups: Sequence[Group]) -> int:
    """What inputs and targets take."""
    held = (array for one in groups for array in (*one.feed.values(), *one.targets.values()))
    return sum(array.nbytes for array in held)


def shuffled(groups: Sequence[Group], size: int, random: np.random.Generator) -> Iterator[Group]:
    """All samples once in batches of ``size``, in another order each time.

    What is left over of a shape waits for the next time.
    """
    batches = []
    for group in groups:
        order = random.permutation(group.count)
        batches += [(group, order[rows]) for rows in in_batches(group.count, size)]
    for place in random.permutation(len(batches)):
        group, rows = batches[place]
        yield group.rows(rows)


def in_batches(count: int, size: int) -> list[Array]:
    """Places of whole batches; where there are too few for one, some are in it twice."""
    if count < size:
        return [np.resize(np.arange(count), size)]
    return [np.arange(start, start + size) for start in range(0, count - size + 1, size)]


def combined(groups: Sequence[Group], how: Callable[[list[Array]], Array]) -> Group:
    """Groups of one shape as one: concatenated, or stacked along a new first axis."""
    first = groups[0]
    return Group(
        {name: how([group.feed[name] for group in groups]) for name in first.feed},
        {name: how([group.targets[name] for group in groups]) for name in first.targets},
    )
