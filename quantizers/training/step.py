"""Steps of training: a batch, a gradient, and how good the parameters are now."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

import numpy as np

from quantizers.training.at_once import TracedSteps, in_turn, is_like, stacked, steps_at_once
from quantizers.training.form import Form
from quantizers.training.graph import TrainableGraph
from quantizers.training.loss import DistillationLoss
from quantizers.training.matrices import matrices_of
from quantizers.training.optimizer import Adam
from quantizers.training.options import DistillOptions
from quantizers.training.pool import Group, in_batches
from runtimes.base import Array
from runtimes.engines.batching import fixed_batch

# How often samples that were held out are asked, every which of them, and in which part of the
# steps the rate rises. Which weights are best, some tell as well; how good those are, all have to.
_LOOKS = 10
_EVERY = 4
_WARMUP = 0.1
# The largest rate for a student, as a share of the square root of its error: what one step may do
# to the outputs goes with the rate, and should not be more than what is to be repaired.
_RATE_BY_ERROR = 0.1
# Of the relative error: less is how float32 rounds.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Best:
    """The best parameters so far, their error, and after how many steps they were found."""

    values: Mapping[str, Array]
    error: float
    steps: int = 0

    def or_this(self, training: Training, error: float) -> Best:
        """This, or what training has now where its ``error`` is less."""
        if not self.is_beaten_by(error):
            return self
        return Best(training.values(), error, training.done)

    def is_beaten_by(self, error: float) -> bool:
        """Whether an error is less by more than rounding."""
        return error < self.error - _ROUNDING


class Training:
    """Adam on the variables of a graph, in steps that suit how wrong it is before the first.

    ``done`` counts the steps; ``first`` is what was before them.

    ``form``: what is trained, and what the graph reads of it.
    ``wanted``: names of the values that the loss looks at. ``examined``: samples that were held
    out, which tell what is best.
    """

    steps: int
    done: int
    batch_size: int
    first: Best

    def __init__(
        self,
        form: Form,
        loss: DistillationLoss,
        wanted: Sequence[str],
        options: DistillOptions,
        examined: Sequence[Group],
    ) -> None:
        import tensorflow as tf

        graph = TrainableGraph(form.model)
        self._fixed_batch = fixed_batch(graph.inputs)
        matrices = matrices_of(form.model)
        self._optimizer = Adam(_values_of(form), **_schedule(options), matrices=matrices)
        optimizer = self._optimizer

        def run(row: Any, feed: Mapping[str, Any]) -> dict[str, Any]:
            read = form.read(optimizer.named(row))
            return graph.run(read.values, feed, wanted, read.given)

        def step(feed: Mapping[str, Any], targets: Mapping[str, Any], settings: Any) -> None:
            with tf.GradientTape() as tape:
                value = loss.loss(run(optimizer.learned, feed), targets)
            optimizer.apply(tape.gradient(value, optimizer.learned), settings)

        def error(feed: Mapping[str, Any], targets: Mapping[str, Any]) -> Any:
            return loss.error(run(optimizer.average, feed), targets)

        self._steps = TracedSteps(in_turn(step))
        self._error = tf.function(error, autograph=False, reduce_retracing=True)
        self._examined = examined
        self._some = [group.rows(np.arange(0, group.count, _EVERY)) for group in examined]
        self._start(options)

    def serves(self, options: DistillOptions) -> bool:
        """Whether ``begin`` computes, to the bit, what a new training would with these."""
        return self._size_by(options) == self.batch_size and self._steps.serves

    def _size_by(self, options: DistillOptions) -> int:
        return self._fixed_batch or options.batch_size

    def begin(self, form: Form, options: DistillOptions) -> None:
        """Start from what ``form`` starts from: the same graph, with other values maybe.

        What TensorFlow has traced serves again; for a small graph tracing takes as long as hundreds
        of steps.
        """
        self._optimizer.begin(_values_of(form), **_schedule(options))
        self._start(options)

    def _start(self, options: DistillOptions) -> None:
        self.batch_size = self._size_by(options)
        self.steps, self.done = options.steps, 0
        self._every = max(1, options.steps // _LOOKS)
        gap = math.gcd(self._every, options.steps)
        self._at_once = steps_at_once(self._examined, self.batch_size, gap)
        self._waiting: list[Group] = []
        self.first = Best(self.values(), self._error_on(self._examined))
        self._likely = Best({}, math.inf)
        self._optimizer.rate = min(options.rate, _RATE_BY_ERROR * math.sqrt(self.first.error))

    @property
    def is_time_to_look(self) -> bool:
        """Whether samples that were held out are asked now."""
        return self.done % self._every == 0 or self.done == self.steps

    def learn(self, batch: Group) -> None:
        """Take one step, at the latest when it is time to look: several are taken at once."""
        if self._waiting and not is_like(batch, self._waiting[0]):
            self._take()
        self.done += 1
        self._waiting.append(batch)
        if len(self._waiting) >= self._at_once or self.is_time_to_look:
            self._take()

    def _take(self) -> None:
        batches, self._waiting = self._waiting, []
        settings = np.stack([self._optimizer.settings() for _ in batches])
        taken = stacked(batches)
        self._steps.take(taken, settings)

    def look(self) -> float:
        """The error of the average of the last steps on some of the samples that were held out.

        What has the least is remembered.
        """
        error = self._error_on(self._some)
        self._likely = self._likely.or_this(self, error)
        return error

    def best(self) -> Best:
        """What had the least error when it was looked at, or what was first if that is better."""
        found = self._likely
        if not found.steps:
            return self.first
        self._optimizer.show(found.values)
        error = self._error_on(self._examined)
        return replace(found, error=error) if self.first.is_beaten_by(error) else self.first

    def _error_on(self, groups: Sequence[Group]) -> float:
        total, count = 0.0, 0
        for group in groups:
            for rows in in_batches(group.count, self.batch_size):
                part = group.rows(rows)
                total += float(self._error(dict(part.feed), dict(part.targets))) * part.count
                count += part.count
        return total / count

    def values(self) -> dict[str, Array]:
        """What the variables are now, on average."""
        return self._optimizer.values()


class _Schedule(TypedDict):
    rate: float
    steps: int
    warmup: int


def _schedule(options: DistillOptions) -> _Schedule:
    warmup = round(options.steps * _WARMUP)
    return {"rate": options.rate, "steps": options.steps, "warmup": warmup}


def _values_of(form: Form) -> dict[str, Array]:
    return {name: start.value for name, start in form.starts().items()}
