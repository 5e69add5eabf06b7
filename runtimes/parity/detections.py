"""Boxes with scores: does the candidate find what the reference is sure of, and nothing else?

An argmax over anchors, or the noise of thousands of boxes that nobody looks at, says little of a
detector. What counts is whether each confident detection is found again: a box that overlaps it by
half (intersection over union, as in Everingham et al., The Pascal Visual Object Classes Challenge,
IJCV 2010), of the same class, still above the background.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtimes.base import Array
from runtimes.exact_sum import ExactSums
from runtimes.metrics.detection import box_overlaps

# A detection counts from this score on; where none reaches it, from half of the highest one.
_CONFIDENT = 0.25
_OVERLAP = 0.5
# It is found again if the other model's score is this share of what counts.
_STILL = 0.5
# Of the detections of a sample the best so many are looked for.
_MOST = 100
# Coordinates beyond that are pixels; scores never are.
_LEAST_PIXELS = 1.5
# So many of the boxes have to look like some, and so far beyond the image's edge are those that are
# parts of it (of two corners), or parts of the box (of a size).
_MOST_GOOD = 0.95
_MARGIN = 0.1
_ENOUGH = 8


@dataclass(frozen=True)
class Layout:
    """Which columns of values [samples, …, …] are boxes and scores; ``axis`` is theirs, 1 or 2.

    The first four columns are the box. ``labelled``: after one score stands the number of the class
    (what is left after non-maximum suppression); else every further column is a class's score.
    ``corners``: a box is two corners, else a centre and a size.
    """

    axis: int
    labelled: bool
    corners: bool


class DetectionAccumulator:
    """Tells from the first values whether they hold detections, and compares these.

    ``layout``: where it is known already.
    """

    def __init__(self, layout: Layout | None = None) -> None:
        self._layout = layout
        self._confident: float | None = None  # None until there are values
        self._counts = np.zeros(4, np.int64)  # sure and found, of the reference and the candidate
        self._sums = ExactSums(4)  # signal of boxes and of scores, and noise of both

    def open(self, expected: Array) -> None:
        """Look at the first of the reference's values, which say what all of them hold."""
        if self._confident is not None:
            return
        self._layout = self._layout or find_layout(expected)
        self._confident = _CONFIDENT
        if self._layout is not None:
            highest = float(_rows(expected, self._layout)[..., 4:5].max())
            if not self._layout.labelled:
                highest = float(_rows(expected, self._layout)[..., 4:].max())
            self._confident = min(_CONFIDENT, highest / 2)

    def update(self, expected: Array, found: Array) -> None:
        """Add float64 arrays of one shape."""
        self.open(expected)
        if self._layout is None or not _fits(expected, self._layout):
            self._layout = None
            return
        pairs = zip(_rows(expected, self._layout), _rows(found, self._layout), strict=True)
        for reference, candidate in pairs:
            self._compare(reference, candidate, self._layout)

    def absorb(self, later: DetectionAccumulator) -> None:
        """Add those of batches that come later; both were opened with the same values."""
        if self._confident is None:
            self._layout, self._confident = later._layout, later._confident
        elif later._confident is not None and later._layout is None:
            self._layout = None
        self._counts = self._counts + later._counts
        self._sums.absorb(later._sums)

    def state(self) -> dict[str, Any]:
        """What ``restored`` takes."""
        layout = None if self._layout is None else vars(self._layout)
        return {**vars(self), "_layout": layout, "_sums": self._sums.state()}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> DetectionAccumulator:
        """What ``state`` gave."""
        found = cls(None if state["_layout"] is None else Layout(**state["_layout"]))
        found._confident, found._counts = state["_confident"], state["_counts"]
        found._sums = ExactSums.restored(state["_sums"])
        return found

    @property
    def is_one(self) -> bool:
        """Whether the output holds detections, some of which count."""
        return self._layout is not None and self._counts[0] > 0

    @property
    def agreement(self) -> float:
        """The share of confident detections that the other model has, too; the lower of both."""
        sure, found, sure_back, found_back = (int(count) for count in self._counts)
        return min(found / max(sure, 1), found_back / sure_back if sure_back else 1.0)

    @property
    def decibels(self) -> float:
        """Signal-to-noise ratio of the confident boxes and of their scores, the lower one."""
        return min(self.decibels_of_boxes, self.decibels_of_scores)

    @property
    def decibels_of_boxes(self) -> float:
        """Signal-to-noise ratio of the confident boxes."""
        return self._decibels_of(0)

    @property
    def decibels_of_scores(self) -> float:
        """Signal-to-noise ratio of the scores of the confident detections."""
        return self._decibels_of(1)

    def _decibels_of(self, place: int) -> float:
        sums = self._sums.values()
        return _decibels(float(sums[place]), float(sums[2 + place]))

    def _compare(self, reference: Array, candidate: Array, layout: Layout) -> None:
        sure = _sure(reference, layout, self._confident or 0.0)
        back = _sure(candidate, layout, self._confident or 0.0)
        partners = _partners(reference[sure], candidate, layout, self._least)
        counts = (
            len(sure),
            int((partners >= 0).sum()),
            len(back),
            int((_partners(candidate[back], reference, layout, self._least) >= 0).sum()),
        )
        self._counts = self._counts + np.array(counts)
        if not layout.labelled:  # without suppression each row has its own place
            partners = sure
        kept = partners >= 0
        expected, found = reference[sure][kept], candidate[partners[kept]]
        parts = (slice(0, 4), slice(4, 5 if layout.labelled else None))
        signal = [(expected[:, columns] ** 2).sum() for columns in parts]
        noise = [((expected - found)[:, columns] ** 2).sum() for columns in parts]
        self._sums.add(np.array([*signal, *noise]))

    @property
    def _least(self) -> float:
        return _STILL * (self._confident or 0.0)


def find_layout(values: Array) -> Layout | None:
    """Where an output's boxes and scores are; None where it holds none."""
    if values.ndim != 3:
        return None
    for axis, labelled in ((2, True), (2, False), (1, False)):
        layout = Layout(axis, labelled, corners=True)
        if values.shape[axis] >= 5 and _fits(values, layout):
            rows = _rows(values, layout)
            boxes = rows[rows[..., 4:].max(axis=-1) > 0][:, :4]
            # Rows of scores alone are bounded as well: a few may look like boxes by chance.
            corners = None if len(boxes) < (1 if labelled else _ENOUGH) else have_corners(boxes)
            if corners is not None:
                return Layout(axis, labelled, corners)
    return None


def have_corners(boxes: Array) -> bool | None:
    """Whether boxes [boxes, 4] are two corners, else a centre and a size; None for no boxes.

    Those in pixels are known by their magnitudes. Parts of the image have to be inside it, which
    rows of anything else between zero and one are not.
    """
    if not len(boxes):
        return None
    first, second = boxes[:, :2], boxes[:, 2:]
    ordered, sized = second >= first, second > 0
    if (np.abs(boxes) > _LEAST_PIXELS).mean() < 0.5:
        outside = _MARGIN * second
        ordered &= (second > first) & (first > -_MARGIN) & (second < 1 + _MARGIN)
        sized &= (first - second / 2 > -outside) & (first + second / 2 < 1 + outside)
    shares = [float(good.all(axis=1).mean()) for good in (ordered, sized)]
    return shares[0] >= _MOST_GOOD if max(shares) >= _MOST_GOOD else None


def _decibels(signal: float, noise: float) -> float:
    return 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else math.inf


def _fits(values: Array, layout: Layout) -> bool:
    scores = _rows(values, layout)[..., 4:]
    if layout.labelled:
        classes = scores[..., 1:]
        if scores.shape[-1] != 2 or (classes != np.floor(classes)).any() or classes.min() < -1:
            return False
        scores = scores[..., :1]
        return bool(((scores >= 0) | (scores == -1)).all() and scores.max() <= 1)
    return bool(scores.min() >= 0 and scores.max() <= 1)


def _rows(values: Array, layout: Layout) -> Array:
    return np.moveaxis(values, layout.axis, 2)


def _scores(rows: Array, layout: Layout) -> Array:
    return rows[:, 4] if layout.labelled else np.asarray(rows[:, 4:].max(axis=1))


def _classes(rows: Array, layout: Layout) -> Array:
    return rows[:, 5] if layout.labelled else np.asarray(rows[:, 4:].argmax(axis=1))


def _sure(rows: Array, layout: Layout, least: float) -> Array:
    """Places of the most confident detections."""
    scores = _scores(rows, layout)
    best = np.argsort(-scores, kind="stable")[:_MOST]
    return np.asarray(best[scores[best] >= max(least, 1e-12)])


def _partners(wanted: Array, rows: Array, layout: Layout, least: float) -> Array:
    """For each wanted row the place of the one that overlaps it most; -1 where none is the same."""
    places = np.flatnonzero(_scores(rows, layout) >= max(least, 1e-12))
    if not len(places) or not len(wanted):
        return np.full(len(wanted), -1)
    overlaps = box_overlaps(_corners(wanted, layout), _corners(rows[places], layout))
    same = _classes(wanted, layout)[:, None] == _classes(rows[places], layout)[None]
    overlaps = np.where(same, overlaps, 0.0)
    best = overlaps.argmax(axis=1)
    enough = overlaps[np.arange(len(wanted)), best] >= _OVERLAP
    return np.where(enough, places[best], -1)


def _corners(rows: Array, layout: Layout) -> Array:
    if layout.corners:
        return rows[:, :4]
    middle, half = rows[:, :2], rows[:, 2:4] / 2
    return np.concatenate([middle - half, middle + half], axis=1)
