"""Recovery by training: a compressed graph learns from the model that it was made from.

No labels are needed: the teacher answers for every sample, and for many more that are made of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import onnx_ir as ir

from quantizers.training.amount import suited_to
from quantizers.training.graph import refuse_unknown
from quantizers.training.loss import DistillationLoss
from quantizers.training.options import DistillOptions
from quantizers.training.pool import (
    Augmentation,
    Group,
    Teacher,
    answered,
    by_shape,
    combined,
    shuffled,
)
from quantizers.training.pools import Pools
from quantizers.training.quantized_form import QuantizedForm
from quantizers.training.step import Training
from quantizers.training.targets import Target, targets_of
from quantizers.training.weight_bits import levels_of
from runtimes.data.dataset import Dataset
from runtimes.errors import DataError, RuntimeUnavailable
from runtimes.extras import missing_extra
from runtimes.onnx_files.load_save import model_inputs
from runtimes.progress import Progress, silent
from runtimes.stress.mixture import Perturbation

LEAST_SAMPLES = 64
"""Fewer say too little of the world to train on."""

# Of the samples, those that only tell which weights were best.
_HELD_OUT = 0.125
# After so many epochs over a pool, other samples are made: the more often it sees the same ones,
# the more of them a student learns by heart.
_EPOCHS = 4
# So many pools are made, then they come again: asking a large teacher takes longer than training.
_POOLS = 8
_STOPPED = "training was stopped with Ctrl-C, and what was best before is kept"
_NOT_FINITE = "the loss became NaN, so training stopped and what was best before is kept"
# The draw of the samples that were held out, and how many are made of them at least: by their error
# plans are told apart.
_EXAMINED, _EXAMINED_COUNT = -1, 512
# After so many steps so many times as many samples are in a batch.
_LATER, _LATER_BATCH = 1500, 2


class TrainingStopped(Exception):
    """Nothing is trained any more: the user stopped an earlier training and keeps its best."""


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
    """Train the weights of ``student`` until it answers like ``teacher``; see ``Distiller``."""
    return Distiller(teacher, data, rungs=rungs, options=options, progress=progress).train(student)


class Distiller:
    """Trains students of one teacher; what the teacher answers serves all of them.

    ``stopped``: whether the user pressed Ctrl-C, which ends a training early where ``keep_best`` is
    set; nothing is trained after that. Models stay as they are. Nothing is drawn but by the seed,
    so that the same student learns the same, whatever was trained before it.

    Args:
        teacher: What students should answer like.
        data: Samples, bound to its inputs; they need no labels.
        rungs: Perturbations that should be withstood, too.
        options: How long and how fast; ``train`` may be told otherwise.
        progress: Is told how far a training is.

    Raises:
        DataError: There are fewer than 64 samples.
        RuntimeUnavailable: TensorFlow is not installed.
    """

    def __init__(
        self,
        teacher: ir.Model,
        data: Dataset,
        *,
        rungs: Sequence[Perturbation] = (),
        options: DistillOptions = DistillOptions(),
        progress: Progress = silent,
    ) -> None:
        require_enough(data)
        _prepare_tensorflow(options.threads)
        self._teacher, self._progress = teacher, progress
        self._options = options = suited_to(options, teacher, data)
        fitted, held_out = data.split(1 - _HELD_OUT, options.seed)
        self._learned = Augmentation(fitted, rungs, options.seed)
        self._examined = Augmentation(held_out, rungs, options.seed)
        self.stopped = False
        self._examined_count = max(_EXAMINED_COUNT, 2 * len_of(held_out))
        self._pools = Pools()
        self._last: tuple[ir.Model, Training] | None = None

    def train(self, student: ir.Model, steps: int | None = None, after: int = 0) -> Distilled:
        """The better of ``student`` and what it becomes in so many ``steps``.

        ``after``: how many steps it was trained for before. It goes on with other samples then, and
        after a while with twice as many in a batch: what is left to learn is finer than the noise
        of few (https://arxiv.org/abs/1711.00489).

        Raises:
            ModelError: Its inputs or outputs are not the teacher's, or nothing can be trained.
            UnsupportedOperator: An operator of it cannot be differentiated.
            TrainingStopped: The user has stopped an earlier training.
        """
        if self.stopped:
            raise TrainingStopped
        refuse_unknown(student)
        targets = targets_of(student, self._teacher)
        size = self._options.batch_size * (_LATER_BATCH if after >= _LATER else 1)
        options = replace(self._options, steps=steps or self._options.steps, batch_size=size)
        self._pools.belong_to(targets)
        examined = self._pool(targets, _EXAMINED)
        form = QuantizedForm(student, levels_of(student))  # of floats, floats
        if self._last and self._last[0] is student and self._last[1].serves(options):
            training = self._last[1]  # it goes on where it ended
            training.begin(form, options)
        else:
            self._last = None  # its memory goes before the next one is made
            loss = DistillationLoss(targets, self._pool(targets, 0), options.classes)
            wanted = [target.student for target in targets]
            training = Training(form, loss, wanted, options, examined)
        try:
            reason = self._run(training, targets, after)
        except KeyboardInterrupt:
            if not options.keep_best:
                raise
            self.stopped, reason = True, _STOPPED
            self._progress("stopped, keeping the best so far; Ctrl-C again ends the command")
        best = training.best()
        model = form.written(best.values) if best.steps else student
        self._last = model, training
        return Distilled(model, training.first.error, best.error, best.steps, reason)

    def held_out(self) -> Dataset:
        """Samples that nothing was learned from, changed like those that tell what is best.

        That is warped, perturbed and mixed; where shapes differ, those of the commonest.
        """
        batches = self._examined.batches(self._examined_count)
        commonest = max(by_shape(Group(batch.feed, {}) for batch in batches), key=len)
        arrays = combined(commonest, np.concatenate).feed
        return Dataset.open(arrays, inputs=model_inputs(self._teacher))

    def _run(self, training: Training, targets: Sequence[Target], after: int) -> str:
        """Learn to the end, or until something is no number, and then why."""
        random = np.random.default_rng([self._options.seed, after])
        first = math.ceil(after * self._options.batch_size / (_EPOCHS * self._options.pool))
        for batch in self._batches(training, targets, random, first):
            training.learn(batch)
            if training.is_time_to_look:
                self._progress("training", training.done, training.steps)
                if not math.isfinite(training.look()):
                    return _NOT_FINITE
            if training.done >= training.steps:
                break
        return ""

    def _batches(
        self,
        training: Training,
        targets: Sequence[Target],
        random: np.random.Generator,
        first: int,
    ) -> Iterator[Group]:
        """Batches of ever other samples, from the ``first`` pool on that was not seen yet."""
        for draw in count(first):
            pool = self._pool(targets, draw % _POOLS)
            for _ in range(_EPOCHS):
                yield from shuffled(pool, training.batch_size, random)

    def _pool(self, targets: Sequence[Target], draw: int) -> list[Group]:
        """Samples and what the teacher says of them, which is asked once for all students."""
        found = self._pools.get(draw)
        if found is None:
            self._progress("asking the teacher")
            source, size = self._learned, self._options.pool
            if draw == _EXAMINED:
                source, size = self._examined, self._examined_count
            with Teacher(self._teacher, targets, self._options.threads) as teacher:
                found = answered(source.batches(size, max(draw, 0)), teacher)
            self._pools.keep(draw, found)
        return found


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
