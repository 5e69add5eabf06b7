"""mAP at IoU 0.5 of a detector whose output is a list of boxes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtimes.base import Array
from runtimes.errors import DataError

_OVERLAP = 0.5
_FORM = (
    "map50 takes an output [samples, boxes, 6] of x1, y1, x2, y2, score and class, and labels "
    "[samples, boxes, 5] of x1, y1, x2, y2 and class, with class -1 in rows that are padding"
)


@dataclass(frozen=True)
class _Found:
    """Of one sample: class, score and hit of every box found, and the classes of the true ones."""

    classes: Array
    scores: Array
    hits: Array
    truth: Array


_PARTS = ("classes", "scores", "hits", "truth")


class MeanAveragePrecision:
    """The mean over classes of the area under precision and recall, boxes matched at IoU 0.5.

    As PASCAL VOC has it since 2010: the best boxes choose first, a true box counts once, and
    precision is made to fall with recall. Classes without any true box are left out.
    """

    higher_is_better = True

    def __init__(self, name: str, output: str, label: str) -> None:
        self.name, self.output, self._label = name, output, label
        self._found: list[_Found] = []

    def update(
        self, outputs: Mapping[str, Array], labels: Mapping[str, Array], indices: Array
    ) -> None:
        """Match the boxes of a batch."""
        boxes, truth = np.asarray(outputs[self.output]), np.asarray(labels[self._label])
        if boxes.ndim != 3 or boxes.shape[2] != 6 or truth.ndim != 3 or truth.shape[2] != 5:
            shapes = f"{list(boxes.shape)} and {list(truth.shape)}"
            raise DataError(f"{_FORM}; these are {shapes}")
        for one, true in zip(boxes.astype(np.float64), truth.astype(np.float64), strict=True):
            self._found.append(_match(one, true))

    def state(self) -> dict[str, Any]:
        """What was matched so far: all samples behind each other, and how long each is."""
        lengths = [[len(one.classes), len(one.truth)] for one in self._found]
        parts = {part: [getattr(one, part) for one in self._found] for part in _PARTS}
        return {
            "lengths": np.array(lengths, np.int64).reshape(-1, 2),
            **{part: np.concatenate(pieces or [np.zeros(0)]) for part, pieces in parts.items()},
        }

    def absorb(self, state: Mapping[str, Any]) -> None:
        """Add the batches that the ``state`` of another one is of, which come later."""
        boxes, true = (np.cumsum(column)[:-1] for column in state["lengths"].T)
        cut = {part: np.split(state[part], true if part == "truth" else boxes) for part in _PARTS}
        for place in range(len(state["lengths"])):
            self._found.append(_Found(**{part: pieces[place] for part, pieces in cut.items()}))

    def value(self) -> float:
        """The mean average precision over all samples so far."""
        found = self.resampled(np.arange(len(self._found)))
        if math.isnan(found):
            raise DataError("map50 needs true boxes; the labels hold none")
        return found

    def scores(self) -> None:
        """A sample has no value by itself."""
        return None

    def resampled(self, places: Array) -> float:
        """The metric over the samples at ``places``; NaN where they have no true box."""
        some = [self._found[place] for place in places]
        classes, scores, hits, truth = (
            np.concatenate([getattr(one, part) for one in some]) for part in _PARTS
        )
        areas = [
            _average_precision(scores[classes == one], hits[classes == one], count)
            for one, count in zip(*np.unique(truth, return_counts=True), strict=True)
        ]
        return float(np.mean(areas)) if areas else math.nan


def _match(boxes: Array, truth: Array) -> _Found:
    """Let the best boxes choose the true box of their class that they overlap most."""
    boxes = boxes[(boxes[:, 4] > 0) & (boxes[:, 5] >= 0)]
    boxes = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    truth = truth[truth[:, 4] >= 0]
    overlaps = box_overlaps(boxes[:, :4], truth[:, :4])
    overlaps[boxes[:, 5][:, None] != truth[:, 4][None]] = 0.0
    taken = np.zeros(len(truth), bool)
    hits = np.zeros(len(boxes), bool)
    for place, row in enumerate(overlaps):
        if len(row) and row.max() >= _OVERLAP and not taken[row.argmax()]:
            hits[place] = taken[row.argmax()] = True
    return _Found(boxes[:, 5], boxes[:, 4], hits, truth[:, 4])


def box_overlaps(boxes: Array, others: Array) -> Array:
    """Intersection over union of every box, [boxes, 4] by corners, with every other one."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(axis=2)
    areas = [np.maximum(one[:, 2:] - one[:, :2], 0).prod(axis=1) for one in (boxes, others)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros(shared.shape), where=union > 0))


def _average_precision(scores: Array, hits: Array, count: int) -> float:
    hit = np.cumsum(hits[np.argsort(-scores, kind="stable")])
    precision = hit / np.arange(1, len(hit) + 1)
    recall = hit / count
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * falling).sum())
