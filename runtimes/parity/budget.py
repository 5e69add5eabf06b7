"""The loss that is acceptable: of which metric, and what stands for it without labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from runtimes.base import TensorSpec
from runtimes.data.dataset import Dataset
from runtimes.errors import DataError
from runtimes.metrics.metric import CLASS_METRICS, open_metrics
from runtimes.metrics.names import ACCURACY, split_drops
from runtimes.parity.choose_metric import Judged, accuracy_of, choose_metrics
from runtimes.parity.verdict import (
    DEFAULT_AGREEMENT,
    DEFAULT_MAX_DROP,
    DEFAULT_SQNR_DB,
    Rules,
    unlabelled,
)

Stress = Literal["default", "none"]

# Where classes judge every output, less says that something collapsed.
_COLLAPSED_DB = 10.0
# What stands where a metric in another unit than a share states no acceptable loss: decibels.
_USUAL_DROPS = {"psnr": 0.1}


@dataclass(frozen=True)
class Budget:
    """What loss is acceptable: of a labelled metric, and a floor of agreement and SQNR elsewhere.

    Attributes:
        metric: Name of the labelled metric, or several with commas between (or in a sequence), one
            for each output that has labels; None: what the labels mean. ``name=drop`` states the
            acceptable loss of one, such as ``top1:digit=0.01``.
        max_drop: Acceptable loss of every other metric, in its unit; None: 0.01, of PSNR 0.1 dB;
            ``math.inf``: they only inform.
        min_agreement: Floor of top-1 agreement for outputs without labels, 0 to 1; None: 0.99.
        min_sqnr: Floor of SQNR for outputs without labels, in dB; None: 20.
        strict: Whether the whole 95% interval of the drop must be inside.
        drops: The acceptable losses that ``metric`` states, by name.
        stress: ``default``: the budget holds on perturbed samples, too, next to the reference on
            the same ones; ``none``: on clean samples only.
    """

    metric: str | None = None
    max_drop: float | None = None
    min_agreement: float | None = None
    min_sqnr: float | None = None
    strict: bool = False
    drops: tuple[tuple[str, float], ...] = ()
    stress: Stress = "default"

    def __post_init__(self) -> None:
        if self.stress not in get_args(Stress):
            raise DataError(f"stress={self.stress!r}: there are {', '.join(get_args(Stress))}")
        if self.metric is None:
            return
        given = self.metric if isinstance(self.metric, str) else ",".join(self.metric)
        metric, drops = split_drops(given)
        object.__setattr__(self, "metric", metric)
        drops = drops or self.drops
        if self.max_drop is None:
            drops = (*drops, *_usual_drops(metric, dict(drops)))
        object.__setattr__(self, "drops", drops)

    @property
    def drop(self) -> float:
        """The smallest loss that is acceptable of any metric: a search keeps inside of that."""
        stated = [loss for _, loss in self.drops]
        return min([*stated, self.shared_drop]) if stated else self.shared_drop

    @property
    def asks_for_accuracy(self) -> bool:
        """Whether it names an accuracy without saying which, which the labels tell."""
        return any(name.startswith(ACCURACY) for name in (self.metric or "").split(","))

    @property
    def shared_drop(self) -> float:
        """The acceptable loss of a metric that states none, in its unit."""
        if self.max_drop is not None:
            return self.max_drop
        names = (self.metric or "").split(",")
        own = dict(self.drops)
        if own and all(name in own for name in names):
            return max(own.values())
        return DEFAULT_MAX_DROP

    @property
    def agreement(self) -> float:
        """The floor of agreement that is meant, 0 to 1."""
        return DEFAULT_AGREEMENT if self.min_agreement is None else self.min_agreement

    @property
    def sqnr_db(self) -> float:
        """The floor of SQNR that is meant, in dB."""
        return DEFAULT_SQNR_DB if self.min_sqnr is None else self.min_sqnr

    def resolve(self, judged: Judged | None) -> Budget:
        """The budget with its floors stated, and the metrics that the labels mean.

        Raises ``DataError`` where none follows from them.
        """
        metric = self.metric
        if metric is None and judged is not None:
            metric = ",".join(choose_metrics(judged)) or None
        known: dict[str, str] = {}
        for name in metric.split(",") if metric and judged is not None else ():
            is_accuracy = name.partition(":")[0] == ACCURACY
            known[name] = accuracy_of(name, judged) if is_accuracy and judged else name
        return replace(
            self,
            metric=",".join(known.values()) if known else metric,
            drops=tuple((known.get(name, name), drop) for name, drop in self.drops),
            max_drop=None if metric is None else self.shared_drop,
            min_agreement=self.agreement,
            min_sqnr=self.sqnr_db,
        )

    def rules(self, *, rtol: float | None = None, atol: float | None = None) -> Rules:
        """The rules that ``judge`` goes by."""
        judges = self.metric is not None and (bool(self.drops) or not math.isinf(self.drop))
        return Rules(
            self.shared_drop if judges else None,
            rtol,
            atol,
            self.min_agreement,
            self.min_sqnr,
            self.strict,
            self.drops if judges else (),
        )


def search_floors(
    outputs: Sequence[TensorSpec],
    evaluation: Dataset,
    budget: Budget,
) -> tuple[float, float]:
    """The agreement (0 … 1) and SQNR (dB) that a search on data without labels should reach.

    They stand for the ``budget`` that is judged by at last: with a metric, agreement may fall by
    its ``max_drop``, and where classes are judged at every output, noise matters only as far as it
    says that something collapsed. Raises ``DataError`` as ``open_metric``.
    """
    if budget.metric is None:
        return budget.agreement, budget.sqnr_db
    names = [output.name for output in outputs]
    judged = open_metrics(budget.metric, names, evaluation.label_names)
    floor = budget.sqnr_db
    classes = all(metric.name.partition(":")[0] in CLASS_METRICS for metric in judged)
    if classes and not unlabelled(names, [metric.output for metric in judged]):
        floor = _COLLAPSED_DB
    return 1.0 - budget.drop, floor


def without_labels(
    budget: Budget, outputs: Sequence[TensorSpec], evaluation: Dataset, data: Dataset
) -> Budget:
    """The budget for a search on ``data``, where they lack the labels that ``evaluation`` has."""
    if budget.metric is None or set(evaluation.label_names) <= set(data.label_names):
        return budget
    agreement, sqnr = search_floors(outputs, evaluation, budget)
    return replace(
        budget, metric=None, max_drop=None, drops=(), min_agreement=agreement, min_sqnr=sqnr
    )


def _usual_drops(metric: str, stated: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """By name, for metrics whose loss is ``stated`` nowhere and is not a share."""
    names = [name for name in metric.split(",") if name not in stated]
    bases = [(name, name.partition(":")[0]) for name in names]
    return tuple((name, _USUAL_DROPS[base]) for name, base in bases if base in _USUAL_DROPS)
