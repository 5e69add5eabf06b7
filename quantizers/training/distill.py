"""Recovery by training: a compressed graph learns from the model that it was made from.

No labels are needed: the teacher answers for every sample, and for many more that are made of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from quantizers.training.graph import TrainableGraph
from quantizers.training.loss import DistillationLoss
from quantizers.training.optimizer import Adam
from quantizers.training.pool import Augmentation, Group, Perturbation, Teacher, answered, shuffled
from quantizers.training.targets import targets_of
from quantizers.training.write import with_values
from runtimes.base import Array
from runtimes.data.dataset import Dataset
from runtimes.engines.batching import fixed_batch
from runtimes.errors import DataError, RuntimeUnavailable
from runtimes.extras import missing_extra
from runtimes.progress import Progress, silent

LEAST_SAMPLES = 64
"""Fewer say too little of the world to train on."""

# Of the samples, those that only tell when to stop, and how often they are asked.
_HELD_OUT = 0.125
_LOOKS = 10
_WARMUP = 0.1
# After so many epochs over a pool, other samples are made.
_EPOCHS = 16


@dataclass(frozen=True)
class DistillOptions:
    """How long and how fast a graph learns.

    Attributes:
        steps: Batches that are learned from.
        batch_size: Samples in each.
        rate: The largest step of Adam, as a share of each parameter's root mean square.
        pool: Samples that are made of the data at a time.
        classes: Outputs whose largest value along the last axis is the answer.
        seed: Of all draws.
        threads: Of a run of the teacher; TensorFlow's are set where it has not begun yet.
    """

    steps: int = 1000
    batch_size: int = 64
    rate: float = 0.05
    pool: int = 4096
    classes: frozenset[str] = frozenset()
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True)
class Distilled:
    """What came of training.

    Attributes:
        model: The better of before and after, by the error on samples that were held out.
        before: Squared error there relative to the variance of the teacher's outputs.
        after: Likewise, of ``model``.
        steps: How many batches were learned from until that was reached; 0: it is as it was.
        reason: Why no more was learned, where something stood against it.
    """

    model: ir.Model
    before: float
    after: float
    steps: int
    reason: str = ""


def distill(
    student: ir.Model,
    teacher: ir.Model,
    data: Dataset,
    *,
    rungs: Sequence[Perturbation] = (),
    options: DistillOptions = DistillOptions(),
    progress: Progress = silent,
) -> Distilled:
    """Train the weights of ``student`` until it answers like ``teacher``.

    Both stay as they are. ``data``, bound to their inputs, need no labels; ``rungs`` are
    perturbations that should be withstood, too.

    Raises:
        DataError: There are fewer than 64 samples.
        ModelError: Inputs or outputs of the two differ, or nothing can be trained.
        UnsupportedOperator: The student has an operator that cannot be differentiated.
        RuntimeUnavailable: TensorFlow is not installed.
    """
    require_enough(data)
    _prepare_tensorflow(options.threads)
    targets = targets_of(student, teacher)
    graph = TrainableGraph(student)
    fitted, held_out = data.split(1 - _HELD_OUT, options.seed)
    augmentation = Augmentation(fitted, rungs, options.seed)
    with Teacher(teacher, targets, options.threads) as source:
        pool = answered(augmentation.batches(options.pool), source)
        examined = answered(
            Augmentation(held_out, rungs, options.seed).batches(len_of(held_out)), source
        )
        loss = DistillationLoss(targets, pool, options.classes)
        training = _Training(graph, loss, [target.student for target in targets], options)
        random = np.random.default_rng(options.seed)
        best = _Best(training.values(), training.error_on(examined))
        before = best.error
        reason = ""
        epochs = draws = 0
        while training.done < options.steps and not reason:
            if epochs == _EPOCHS:
                draws, epochs = draws + 1, 0
                pool = answered(augmentation.batches(options.pool, draws), source)
            epochs += 1
            for batch in shuffled(pool, training.batch_size, random):
                training.learn(batch)
                if training.is_time_to_look:
                    error = training.error_on(examined)
                    best = best.or_this(training.values(), error, training.done)
                    progress(f"training, {training.done} of {options.steps} batches")
                    if not math.isfinite(error):
                        reason = "the loss became NaN: training stopped, what was before is kept"
                        break
                if training.done >= options.steps:
                    break
    model = with_values(student, best.values) if best.steps else student
    return Distilled(model, before, best.error, best.steps, reason)


def require_enough(data: Dataset) -> None:
    """Raise ``DataError`` where there are too few samples to train on."""
    count = len_of(data)
    if count < LEAST_SAMPLES:
        raise DataError(
            f"{data.name} holds {count} samples, and training takes at least {LEAST_SAMPLES}: give "
            "more (they need no labels), or leave training out"
        )


def len_of(data: Dataset) -> int:
    """The number of samples, counted where the source does not say."""
    found = data.num_samples
    return sum(len(batch) for batch in data.batches(256)) if found is None else found


@dataclass(frozen=True)
class _Best:
    """The best parameters so far, and after how many steps."""

    values: Mapping[str, Array]
    error: float
    steps: int = 0

    def or_this(self, values: Mapping[str, Array], error: float, steps: int) -> _Best:
        return _Best(values, error, steps) if error < self.error else self


class _Training:
    """Steps of Adam on a graph; ``done`` counts them."""

    def __init__(
        self,
        graph: TrainableGraph,
        loss: DistillationLoss,
        wanted: Sequence[str],
        options: DistillOptions,
    ) -> None:
        import tensorflow as tf

        self.batch_size = fixed_batch(graph.inputs) or options.batch_size
        self.done = 0
        self._looks = max(1, options.steps // _LOOKS)
        self._steps = options.steps
        self._optimizer = Adam(
            graph.initial(),
            rate=options.rate,
            steps=options.steps,
            warmup=round(options.steps * _WARMUP),
        )
        variables = self._optimizer.variables

        def step(feed: Mapping[str, Any], targets: Mapping[str, Any], settings: Any) -> None:
            with tf.GradientTape() as tape:
                found = graph.run(variables, feed, wanted)
                value = loss.loss(found, targets)
            gradients = tape.gradient(value, variables)
            self._optimizer.apply(gradients, settings)

        def error(feed: Mapping[str, Any], targets: Mapping[str, Any]) -> Any:
            return loss.error(graph.run(variables, feed, wanted), targets)

        self._step = tf.function(step, autograph=False, reduce_retracing=True)
        self._error = tf.function(error, autograph=False, reduce_retracing=True)

    @property
    def is_time_to_look(self) -> bool:
        """Whether the samples that were held out are asked now."""
        return self.done % self._looks == 0 or self.done == self._steps

    def learn(self, batch: Group) -> None:
        """Take one step."""
        self.done += 1
        self._step(dict(batch.feed), dict(batch.targets), self._optimizer.settings())

    def error_on(self, groups: Sequence[Group]) -> float:
        """The error over all samples of ``groups``."""
        total, count = 0.0, 0
        for group in groups:
            for start in range(
                0, group.count - group.count % self.batch_size or group.count, self.batch_size
            ):
                part = group.rows(np.arange(start, min(start + self.batch_size, group.count)))
                total += float(self._error(dict(part.feed), dict(part.targets))) * part.count
                count += part.count
        return total / count

    def values(self) -> dict[str, Array]:
        """The parameters now."""
        return self._optimizer.values()


def _prepare_tensorflow(threads: int) -> None:
    """As many threads as a run has, where TensorFlow has not begun with others."""
    try:
        import tensorflow as tf
    except ImportError as error:
        raise RuntimeUnavailable(missing_extra("TensorFlow", "keras", "to train")) from error

    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # it runs already
        return
