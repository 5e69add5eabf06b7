"""The loss that is acceptable: of which metric, and what stands for it without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtimes.base import TensorSpec
from runtimes.data.dataset import Dataset
from runtimes.metrics.metric import open_metric
from runtimes.parity.check import ParityReport, check
from runtimes.parity.verdict import unlabelled

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


@dataclass(frozen=True)
class Budget:
    """What loss is acceptable: of a labelled metric, and a floor of agreement and SQNR elsewhere.

    ``strict``: a drop is inside only if its whole 95% interval is.
    """

    metric: str | None
    max_drop: float
    min_agreement: float
    min_sqnr_db: float
    strict: bool = False

    def check(
        self,
        reference: Any,
        candidate: Any,
        data: Dataset,
        *,
        providers: Sequence[str] = ("cpu",),
        threads: int | None = None,
    ) -> ParityReport:
        """Hold ``candidate`` against ``reference`` on ``data``: whether its loss is acceptable."""
        return check(
            reference,
            candidate,
            data,
            metric=self.metric,
            max_drop=None if self.metric is None else self.max_drop,
            min_agreement=self.min_agreement,
            min_sqnr=self.min_sqnr_db,
            providers=providers,
            threads=threads,
            strict=self.strict,
        )
