"""Steps of training: a batch, a gradient, and how good the parameters are now."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantizers.training.form import Form
from quantizers.training.graph import TrainableGraph
from quantizers.training.loss import DistillationLoss
from quantizers.training.matrices import matrices_of
from quantizers.training.optimizer import Adam
from quantizers.training.options import DistillOptions
from quantizers.training.pool import Group, in_batches
from runtimes.base import Array
from runtimes.engines.batching import fixed_batch

# How often samples that were held out are asked, and in which part of the steps the rate rises.
_LOOKS = 10
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
        better = error < self.error - _ROUNDING
        return Best(training.values(), error, training.done) if better else self


class Training:
    """Adam on the variables of a graph, in steps that suit how wrong it is before the first.

    ``done`` counts the steps; ``first`` is what was before them, ``best`` the best that was seen.

    ``form``: what is trained, and what the graph reads of it.
    ``wanted``: names of the values that the loss looks at. ``examined``: samples that were held
    out, which tell what is best.
    """

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
        self.batch_size = fixed_batch(graph.inputs) or options.batch_size
        self.steps, self.done = options.steps, 0
        self._every = max(1, options.steps // _LOOKS)
        self._optimizer = Adam(
            {name: start.value for name, start in form.starts().items()},
            rate=options.rate,
            steps=options.steps,
            warmup=round(options.steps * _WARMUP),
            matrices=matrices_of(form.model),
        )
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

        self._step = tf.function(step, autograph=False, reduce_retracing=True)
        self._error = tf.function(error, autograph=False, reduce_retracing=True)
        self._examined = examined
        self.first = self.best = Best(self.values(), self._error_now())
        self._optimizer.rate = min(options.rate, _RATE_BY_ERROR * math.sqrt(self.first.error))

    @property
    def is_time_to_look(self) -> bool:
        """Whether samples that were held out are asked now."""
        return self.done % self._every == 0 or self.done == self.steps

    def learn(self, batch: Group) -> None:
        """Take one step."""
        self.done += 1
        self._step(dict(batch.feed), dict(batch.targets), self._optimizer.settings())

    def look(self) -> float:
        """The error of the average of the last steps, which is kept where it is the best."""
        error = self._error_now()
        self.best = self.best.or_this(self, error)
        return error

    def _error_now(self) -> float:
        total, count = 0.0, 0
        for group in self._examined:
            for rows in in_batches(group.count, self.batch_size):
                part = group.rows(rows)
                total += float(self._error(dict(part.feed), dict(part.targets))) * part.count
                count += part.count
        return total / count

    def values(self) -> dict[str, Array]:
        """What the variables are now, on average."""
        return self._optimizer.values()
