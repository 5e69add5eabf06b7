"""What is wrong with data and labels, said before a model is exported, which takes long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from runtimes.base import TensorSpec
from runtimes.data.dataset import Dataset
from runtimes.metrics.functions import FunctionMetric
from runtimes.metrics.labelled_output import no_labels
from runtimes.metrics.metric import open_metrics
from runtimes.parity.budget import Budget
from runtimes.parity.choose_metric import refuse_other_classes

# Labels that are looked at, so many at a time; all of them are when the model judges.
_LABELS, _AT_A_TIME = 4096, 64


class EarlyData:
    """The data of a command as far as they can be judged without the model, or with its interface.

    ``calibration`` and ``evaluation`` (None: the first are split) are opened, and not bound yet.
    Raises ``DataError`` for what cannot be read, and for a metric without labels.
    """

    def __init__(self, data: Any, evaluate_on: Any, budget: Budget) -> None:
        self.calibration = Dataset.open(data)
        self.evaluation = None if evaluate_on is None else Dataset.open(evaluate_on)
        self._budget = budget
        if budget.metric is not None and not self.judging.label_names:
            raise no_labels(budget.metric.split(",")[0])

    @property
    def judging(self) -> Dataset:
        """The data that judge, or of which a part does."""
        return self.calibration if self.evaluation is None else self.evaluation

    def refuse_misfits(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        """Raise ``DataError`` where data or labels do not fit this interface.

        ``outputs`` may be none, where they are not known yet.
        """
        for data in (self.calibration, self.evaluation):
            if data is not None:
                data.bind(inputs)
        labels = self.judging.label_names
        if not outputs or not labels:
            return
        refuse_other_classes(outputs, self.judging)
        if self._budget.metric is None:
            return
        metrics = open_metrics(self._budget.metric, [one.name for one in outputs], labels)
        if any(isinstance(one, FunctionMetric) for one in metrics):
            return
        if self._budget.asks_for_accuracy:  # which one, the values tell
            return
        known = {one.name: one.shape for one in outputs}
        arrays = {label: self.judging.all_labels(label)[:_LABELS] for label in labels}
        for metric in metrics:
            shape = known[str(metric.output)]
            if shape is None or not all(isinstance(size, int) for size in shape[1:]):
                continue
            for start in range(0, min(map(len, arrays.values())), _AT_A_TIME):
                some = {label: array[start : start + _AT_A_TIME] for label, array in arrays.items()}
                count = len(next(iter(some.values())))
                sizes = tuple(size for size in shape[1:] if isinstance(size, int))
                zeros = np.broadcast_to(np.float32(0), (count, *sizes))  # takes no memory
                places = np.arange(start, start + count)
                metric.update({str(metric.output): zeros}, some, places)
