"""Measuring what pruned models do on data that they were not fitted on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import onnx_ir as ir

from converter.pruning.search.objective import SURE, Judgement
from runtimes.base import Array
from runtimes.data.batches import Batch
from runtimes.data.dataset import Dataset
from runtimes.engines.batching import run_padded
from runtimes.engines.ort import OrtRuntime
from runtimes.errors import DataError
from runtimes.metrics.metric import Metric, drop, open_metric
from runtimes.onnx_files.load_save import model_outputs
from runtimes.parity.output_error import OutputParity, ParityAccumulator
from runtimes.parity.verdict import that_agree, unlabelled

# Parts of the data over which a drop is spread, where a sample has no value by itself.
_FOLDS = 10
# What the reference makes of data that judge is kept up to here; beyond, it runs again each time.
_MOST_KEPT_BYTES = 32 * 2**20


class HeldOut:
    """Data that judge, with what the reference makes of them, kept from one judgement to the next.

    ``views`` of the same samples, as they are and perturbed, are bound to the inputs of
    ``reference``; ``threads`` of a run.
    """

    def __init__(self, reference: ir.Model, views: Sequence[Dataset], threads: int = 1) -> None:
        self.reference, self.views, self.threads = reference, views, threads
        self._size = max(1, min(32, (views[0].num_samples or 1) // _FOLDS))
        self._expected: list[Mapping[str, Array]] | None = None

    def clear(self) -> None:
        """Give the memory back; the reference runs again when it is asked again."""
        self._expected = None

    def _all(self) -> Iterator[Batch]:
        return chain.from_iterable(view.batches(self._size) for view in self.views)

    def batches(self) -> Iterator[tuple[Batch, Mapping[str, Array]]]:
        """Batches, and the outputs of the reference."""
        if self._expected is not None:
            yield from zip(self._all(), self._expected, strict=True)
            return
        expected: list[Mapping[str, Array]] = []
        held = 0
        with OrtRuntime(self.reference, threads=self.threads) as whole:
            for batch in self._all():
                outputs = run_padded(whole, batch.feed)
                held += sum(array.nbytes for array in outputs.values())
                if held <= _MOST_KEPT_BYTES:
                    expected.append(outputs)
                yield batch, outputs
        if held <= _MOST_KEPT_BYTES:
            self._expected = expected


class Judging:
    """Models that stand for one, each judged on data of its own, all together.

    Args:
        reference: The model that they should equal.
        metric: Metrics by name, with commas between; None judges by the outputs alone.
        labels: Names of the labels in the data.
        sure: Standard errors that are added to what they lose.
    """

    def __init__(
        self,
        reference: ir.Model,
        metric: str | None,
        labels: Sequence[str],
        sure: float = SURE,
    ) -> None:
        self._sure = sure
        self._outputs = [spec.name for spec in model_outputs(reference)]
        names = [] if metric is None else metric.split(",")
        self._metrics = [_FoldedMetric(name, self._outputs, labels) for name in names]
        self._parity = {name: ParityAccumulator(name, "cpu") for name in self._outputs}
        self._samples = 0

    def add(self, model: ir.Model, held_out: HeldOut) -> None:
        """Judge ``model`` on what it has not seen, too."""
        with OrtRuntime(model, threads=held_out.threads) as pruned:
            for batch, expected in held_out.batches():
                found = run_padded(pruned, batch.feed)
                for name, accumulator in self._parity.items():
                    accumulator.update(expected[name], found[name], batch.indices)
                for one in self._metrics:
                    one.update(expected, found, batch.labels, batch.indices)
                self._samples += len(batch)

    def result(self) -> Judgement:
        """The judgement of all that were added so far."""
        results = [accumulator.result() for accumulator in self._parity.values()]
        problem = next((result.problem for result in results if result.problem), None)
        labelled = [one.output for one in self._metrics]
        others = unlabelled(self._outputs, labelled) if labelled else ()
        agreements = [one.agreement for one in that_agree(results) if one.agreement is not None]
        agreement = min(agreements, default=None)
        if problem is not None:
            return Judgement(
                self._samples, None, (), agreement, -math.inf, problem, sure=self._sure
            )
        drops = [one.drop() for one in self._metrics]
        lost, parts = max(drops, key=lambda found: found[0]) if drops else (None, ())
        return Judgement(
            self._samples,
            lost,
            parts,
            agreement,
            _least_sqnr([one for one in results if one.output not in others]),
            unlabelled_db=_least_sqnr([one for one in results if one.output in others]),
            sure=self._sure,
        )


def _least_sqnr(results: Sequence[OutputParity]) -> float:
    return min((one.sqnr_db for one in results if one.sqnr_db is not None), default=math.inf)


class _FoldedMetric:
    """A metric of both models, over everything and over folds, which tell how sure it is."""

    def __init__(self, name: str, outputs: Sequence[str], labels: Sequence[str]) -> None:
        def pair() -> tuple[Metric, Metric]:
            return open_metric(name, outputs, labels), open_metric(name, outputs, labels)

        self._all = pair()
        self._folds = [pair() for _ in range(_FOLDS)]
        self._batches = 0

    @property
    def output(self) -> str | None:
        """The output that it judges; None: all of them."""
        return self._all[0].output

    def update(self, expected: object, found: object, labels: object, indices: object) -> None:
        fold = self._folds[self._batches % _FOLDS]
        self._batches += 1
        for metric, results in zip((*self._all, *fold), (expected, found) * 2, strict=True):
            metric.update(results, labels, indices)  # type: ignore[arg-type]

    def drop(self) -> tuple[float, tuple[float, ...]]:
        """The drop over everything, and over each sample or fold (of none, where one has none)."""
        reference, candidate = (metric.scores() for metric in self._all)
        if reference is not None and candidate is not None:
            sign = 1.0 if self._all[0].higher_is_better else -1.0
            return _drop(*self._all), tuple((sign * (reference - candidate)).tolist())
        try:
            parts = tuple(_drop(*fold) for fold in self._folds[: self._batches])
        except DataError:  # a fold may lack a class that the metric needs
            parts = ()
        return _drop(*self._all), parts if len(parts) > 1 else ()


def _drop(reference: Metric, candidate: Metric) -> float:
    higher = reference.higher_is_better
    return drop(reference.value(), candidate.value(), higher_is_better=higher)
