"""Which metric do labels mean where none was named?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtimes.base import TensorSpec
from runtimes.dataset import Dataset
from runtimes.metrics import open_metric
from runtimes.verdict import unlabelled


def default_metric(outputs: Sequence[TensorSpec], evaluation: Dataset) -> str | None:
    """Top-1 where there are integer class labels for an output of class scores, else None."""
    for batch in evaluation.take(1).batches(1):
        for name, labels in batch.labels.items():
            if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
                continue
            labelled = [output for output in outputs if name in ("", output.name)]
            shape = labelled[0].shape if labelled else None
            if shape and len(shape) == 2 and shape[1] not in (None, 1):
                return "top1"
    return None


def unlabelled_outputs(
    outputs: Sequence[TensorSpec], metric: str, evaluation: Dataset
) -> tuple[str, ...]:
    """The outputs that ``metric`` does not judge; ``DataError`` as ``open_metric``."""
    names = [output.name for output in outputs]
    return unlabelled(names, [open_metric(metric, names, evaluation.label_names).output])
