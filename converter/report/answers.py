"""What the two models answer: confusion before and after, and the samples whose answer changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converter.report.pictures import sample_html
from runtimes.base import Array
from runtimes.data.batches import Batch
from runtimes.data.dataset import Dataset
from runtimes.engines.batching import fixed_batch, run_padded
from runtimes.engines.open_runtime import borrow, open_runtime
from runtimes.engines.ort import NO_SPINNING
from runtimes.engines.runtime import Runtime
from runtimes.metrics.scores import class_indices

# More classes make no matrix that could be read, more changed samples no list.
_MOST_CLASSES = 25
_MOST_SHOWN = 12


@dataclass(frozen=True)
class Changed:
    """A sample that the result answers otherwise: its place, its class if known, both answers.

    ``shown``: its inputs as HTML.
    """

    sample: int
    label: str
    before: str
    after: str
    shown: str


@dataclass(frozen=True)
class Answers:
    """Answers of a classifier over all samples that judge.

    ``before`` and ``after`` count samples by their class (rows) and by the answer (columns), empty
    without labels. ``changed`` of ``samples`` are answered otherwise; ``shown`` are the first.
    """

    output: str
    classes: tuple[str, ...]
    samples: int
    changed: int
    before: tuple[tuple[int, ...], ...]
    after: tuple[tuple[int, ...], ...]
    shown: tuple[Changed, ...]


def compare_answers(
    fp32: Path | Runtime, result: Path, evaluation: Dataset, provider: str, threads: int
) -> Answers | None:
    """The answers at the first output with classes; None where no output has any."""
    with (
        borrow(fp32, "cpu", threads=threads, config=NO_SPINNING) as one,
        open_runtime(result, provider, threads=threads, config=NO_SPINNING) as other,
    ):
        output = _classes_of([(spec.name, spec.shape) for spec in one.outputs], evaluation)
        if output is None:
            return None
        name, classes = output
        counts = [np.zeros((classes, classes), np.int64) for _ in range(2)]
        names = _names(evaluation, name, classes)
        shown, changed, samples = list[Changed](), 0, 0
        for batch in evaluation.batches(fixed_batch(one.inputs) or 32):
            scores = [run_padded(runtime, batch.feed)[name] for runtime in (one, other)]
            answers = [np.argmax(each, axis=-1) for each in scores]
            truth = _truth(scores[0], batch, name)
            if truth is not None:
                for count, answer in zip(counts, answers, strict=True):
                    np.add.at(count, (truth, answer), 1)
            differing = np.flatnonzero(answers[0] != answers[1])
            for place in differing[: _MOST_SHOWN - len(shown)]:
                shown.append(_changed(batch, place, answers, truth, names))
            changed, samples = changed + len(differing), samples + len(batch)
    labelled = bool(counts[0].any()) and classes <= _MOST_CLASSES
    before, after = (_plain(count) if labelled else () for count in counts)
    return Answers(name, names, samples, changed, before, after, tuple(shown))


def _classes_of(
    outputs: Sequence[tuple[str, tuple[int | str | None, ...] | None]], evaluation: Dataset
) -> tuple[str, int] | None:
    """The first output [samples, classes] that has labels, or any where none has."""
    found = [
        (name, shape[1])
        for name, shape in outputs
        if shape is not None and len(shape) == 2 and isinstance(shape[1], int) and shape[1] > 2
    ]
    labelled = [one for one in found if one[0] in evaluation.label_names]
    return next(iter(labelled or found), None)


def _names(evaluation: Dataset, output: str, classes: int) -> tuple[str, ...]:
    known = evaluation.class_names
    names = known.get(output) or known.get("") or ()
    return tuple(map(str, names)) if len(names) == classes else tuple(map(str, range(classes)))


def _truth(scores: Array, batch: Batch, output: str) -> Array | None:
    """The classes of a batch; None without labels of classes."""
    labels = batch.labels.get(output, batch.labels.get(""))
    if labels is None or labels.shape not in {scores.shape, scores.shape[:1], (len(scores), 1)}:
        return None
    if labels.dtype.kind == "f" and labels.shape != scores.shape and (labels % 1).any():
        return None
    return class_indices(scores, labels, batch.indices)


def _changed(
    batch: Batch, place: int, answers: Sequence[Array], truth: Array | None, names: Sequence[str]
) -> Changed:
    sample = int(batch.indices[place])
    inputs = {key: array[place] for key, array in batch.feed.items()}
    before, after = (names[int(answer[place])] for answer in answers)
    label = "" if truth is None else names[int(truth[place])]
    return Changed(sample, label, before, after, sample_html(inputs, f"sample {sample}"))


def _plain(counts: Array) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(int, row)) for row in counts)
