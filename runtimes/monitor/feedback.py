"""Labels that come later: the metric on what was served, with an interval that always holds.

Predictions wait for their labels in a table of bounded size. For a metric that is the mean of a
score in [0, 1] for each sample, the interval is a confidence sequence: with 95% probability it
holds the mean at every moment, so it may be watched while labels come in. It is made of the values
p that the mixture of bets against p has not refuted,

    log B(½ + s, ½ + n − s) − log B(½, ½) − s·log p − (n − s)·log(1 − p) < log(1/0.05)

(Robbins, Statistical methods related to the law of the iterated logarithm, Ann. Math. Stat. 41,
1970; by the inequality of arithmetic and geometric means it holds for scores in between as well).
Other means have the normal interval, which holds at one moment only.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from runtimes.base import Array
from runtimes.errors import DataError
from runtimes.metrics.metric import open_metric
from runtimes.monitor.layout import ServedMetric

LEVEL = 0.05
_Z = 1.959963984540054
_BOUNDED = frozenset(("top1", "top5", "binary_accuracy", "binary_accuracy_logits"))
_MEANS = _BOUNDED | {"mae", "mse", "psnr", "ssim"}


class Feedback:
    """Predictions that wait, and sums of the scores of those that were labelled."""

    def __init__(self, metric: ServedMetric | None, most: int = 4096, most_bytes: int = 32_000_000):
        base = "" if metric is None else metric.name.partition(":")[0]
        self.metric = metric if base in _MEANS else None
        self._bounded = base in _BOUNDED
        self._waiting: OrderedDict[str, dict[str, Array]] = OrderedDict()
        self._most, self._most_bytes, self._bytes = most, most_bytes, 0
        self.count, self.total, self.squares = 0, 0.0, 0.0
        self.unknown = 0

    def remember(self, request_id: str, outputs: Mapping[str, Array]) -> None:
        """Keep an answer until its label comes, or until too many newer ones did."""
        if self.metric is None or len(request_id) > 200:
            return
        output = self.metric.name.partition(":")[2]
        kept = {name: array.copy() for name, array in outputs.items() if name == (output or name)}
        size = sum(array.nbytes for array in kept.values())
        if size > self._most_bytes // 16:
            return
        self._forget(request_id)
        self._waiting[request_id] = kept
        self._bytes += size
        while len(self._waiting) > self._most or self._bytes > self._most_bytes:
            self._forget(next(iter(self._waiting)))

    def label(self, request_id: str, label: Any) -> None:
        """Judge an answer by its label.

        ``label``: that of a request's samples, or a dict of them by output. Raises ``DataError``
        for a request that is not known (any more), and for what cannot be a label of it.
        """
        if self.metric is None:
            raise DataError(
                "this model has no metric that labels could give: its reference was made of data "
                "without labels; package it anew with labelled data"
            )
        outputs = self._waiting.get(request_id)
        if outputs is None:
            self.unknown += 1
            raise DataError(
                f"no answer waits for a label under the id {request_id[:60]!r}: it is unknown, "
                "was labelled already, or too many newer ones came"
            )
        scores = self._scores(outputs, label)
        self._forget(request_id)
        self.count += len(scores)
        self.total += float(scores.sum())
        self.squares += float((scores * scores).sum())

    def _scores(self, outputs: Mapping[str, Array], label: Any) -> Array:
        assert self.metric is not None
        rows = len(next(iter(outputs.values())))
        labels = label if isinstance(label, Mapping) else {"": label}
        arrays = {str(name): _rows(value, rows) for name, value in labels.items()}
        metric = open_metric(self.metric.name, list(outputs), list(arrays))
        metric.update(outputs, arrays, np.arange(rows))
        scores = metric.scores()
        assert scores is not None
        if not np.isfinite(scores).all():
            raise DataError("the label gives a score that is not finite")
        return scores

    def _forget(self, request_id: str) -> None:
        kept = self._waiting.pop(request_id, None)
        if kept is not None:
            self._bytes -= sum(array.nbytes for array in kept.values())

    def to_dict(self) -> dict[str, Any] | None:
        """The metric as served, its interval, and the report's; None without a metric."""
        if self.metric is None:
            return None
        low, high = self.interval()
        return {
            "name": self.metric.name,
            "labels": self.count,
            "served": self.total / self.count if self.count else None,
            "low": low,
            "high": high,
            "always_valid": self._bounded,
            "reported": self.metric.value,
            "waiting": len(self._waiting),
            "unknown": self.unknown,
        }

    def interval(self) -> tuple[float | None, float | None]:
        """The 95% interval of the mean; None where there is none yet."""
        if self._bounded:
            return confidence_sequence(self.total, self.count)
        if self.count < 2:
            return None, None
        mean = self.total / self.count
        variance = max(0.0, self.squares / self.count - mean * mean)
        half = _Z * math.sqrt(variance / (self.count - 1))
        return mean - half, mean + half

    def take_up(self, state: Mapping[str, Any]) -> None:
        """Go on with sums that were saved; ``ValueError``, ``KeyError`` or ``TypeError``."""
        count, total, squares = int(state["count"]), float(state["total"]), float(state["squares"])
        if count < 0 or not math.isfinite(total) or not math.isfinite(squares):
            raise ValueError("sums that cannot be")
        self.count, self.total, self.squares = count, total, squares

    def sums(self) -> dict[str, Any]:
        """What ``take_up`` takes."""
        return {"count": self.count, "total": self.total, "squares": self.squares}


def confidence_sequence(total: float, count: int, level: float = LEVEL) -> tuple[float, float]:
    """The interval of the mean of scores in [0, 1] that holds at all times at once."""
    if not count:
        return 0.0, 1.0
    mean = min(1.0, max(0.0, total / count))
    half = math.lgamma(0.5)
    mixture = math.lgamma(0.5 + mean * count) + math.lgamma(0.5 + (1 - mean) * count)
    mixture += -math.lgamma(1.0 + count) - 2 * half

    def refuted(p: float) -> bool:
        likelihood = mean * count * math.log(p) if mean else 0.0
        likelihood += (1 - mean) * count * math.log1p(-p) if mean < 1 else 0.0
        return mixture - likelihood >= -math.log(level)

    return _end(mean, 0.0, refuted), _end(mean, 1.0, refuted)


def _end(inside: float, outside: float, refuted: Any) -> float:
    """The last value between ``inside`` and the border that is not refuted."""
    for _ in range(60):
        middle = (inside + outside) / 2
        if 0 < middle < 1 and not refuted(middle):
            inside = middle
        else:
            outside = middle
    return inside


def _rows(value: Any, rows: int) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise DataError("a label is a number, a list of numbers, or one of these by output")
    if array.ndim == 0:
        array = array[None]
    if len(array) != rows:
        raise DataError(f"the request had {rows} samples, and there are labels for {len(array)}")
    if not np.isfinite(array).all():
        raise DataError("the labels hold NaN or infinity")
    return array
