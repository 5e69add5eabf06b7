"""Which metric do labels mean where none was named, and what stands for it without labels?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtimes.base import TensorSpec
from runtimes.dataset import Dataset
from runtimes.metrics import open_metric
from runtimes.verdict import unlabelled

# Where labels judge every output, less says that something collapsed.
_COLLAPSED_DB = 10.0


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


def search_floors(
    outputs: Sequence[TensorSpec],
    evaluation: Dataset,
    metric: str | None,
    *,
    max_drop: float,
    min_agreement: float,
    min_sqnr: float,
) -> tuple[float, float]:
    """The agreement (0 … 1) and SQNR (dB) that a search on data without labels should reach.

    They stand for the budget that is judged by at last: with a ``metric``, agreement may fall by
    ``max_drop``, and where it judges every output, noise matters only as far as it says that
    something collapsed. Raises ``DataError`` as ``open_metric``.
    """
    if metric is None:
        return min_agreement, min_sqnr
    names = [output.name for output in outputs]
    judged = open_metric(metric, names, evaluation.label_names).output
    return 1.0 - max_drop, min_sqnr if unlabelled(names, [judged]) else _COLLAPSED_DB
