"""Boxes, scores, classes and counts that are outputs of their own, judged as one detector.

What stands after non-maximum suppression in TensorFlow's detectors, torchvision's and TensorRT's
has [samples, boxes, 4] next to [samples, boxes]; heads without suppression have scores of every
class, [samples, boxes, classes]. They belong together by their shapes and by what they hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from runtimes.base import Array
from runtimes.parity.detections import DetectionAccumulator, Layout, have_corners
from runtimes.parity.output_error import OutputParity

_CLASS_WORDS = ("class", "label", "categor")


@dataclass(frozen=True)
class Heads:
    """The names of a detector's outputs.

    ``classes``: the class of each box, None where there is one class only, or scores of each
    (``scores_of_all``, among which ``background`` is that of no object). ``count``: how many boxes
    of a sample count. ``corners``: see ``Layout``.
    """

    boxes: str
    scores: str
    classes: str | None = None
    count: str | None = None
    scores_of_all: bool = False
    background: int | None = None
    corners: bool = True

    @property
    def outputs(self) -> tuple[str, ...]:
        """All of them."""
        found = (self.boxes, self.scores, self.classes, self.count)
        return tuple(name for name in found if name is not None)

    @property
    def layout(self) -> Layout:
        """That of ``join``'s values."""
        return Layout(axis=2, labelled=not self.scores_of_all, corners=self.corners)

    def join(self, outputs: Mapping[str, Array]) -> Array:
        """Boxes with their scores and classes in one array [samples, boxes, columns]."""
        boxes = _boxes(outputs[self.boxes])
        scores = outputs[self.scores].astype(np.float64)
        if not self.scores_of_all:
            classes = np.zeros_like(scores) if self.classes is None else outputs[self.classes]
            scores = np.stack([scores, classes], axis=2)
        elif self.background is not None:
            scores = np.delete(scores, self.background, axis=2)
        if self.count is not None:
            counts = outputs[self.count].reshape(-1, 1)
            beyond = np.arange(boxes.shape[1])[None] >= counts
            scores[beyond] = 0
        return np.concatenate([boxes, scores], axis=2)


class HeadsAccumulator:
    """Compares the detections of outputs that belong together, batch by batch."""

    def __init__(self) -> None:
        self._found: list[tuple[Heads, DetectionAccumulator]] | None = None

    def open(self, expected: Mapping[str, Array]) -> None:
        """Look at the reference's first outputs, which say what belongs together."""
        if self._found is None:
            self._found = [(one, DetectionAccumulator(one.layout)) for one in find_heads(expected)]
            for heads, accumulator in self._found:
                accumulator.open(heads.join(expected))

    def update(self, expected: Mapping[str, Array], found: Mapping[str, Array]) -> None:
        """Add a batch: outputs of the same names, shapes and dtypes."""
        self.open(expected)
        for heads, accumulator in self._found or ():
            accumulator.update(heads.join(expected), heads.join(found))

    def absorb(self, later: HeadsAccumulator) -> None:
        """Add those of batches that come later; both were opened with the same outputs."""
        if self._found is None:
            self._found = later._found
            return
        for (_, one), (_, other) in zip(self._found, later._found or (), strict=False):
            one.absorb(other)

    def state(self) -> dict[str, Any]:
        """What ``restored`` takes."""
        found = [{"heads": vars(heads), "sums": one.state()} for heads, one in self._found or ()]
        return {"found": None if self._found is None else found}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> HeadsAccumulator:
        """What ``state`` gave."""
        found = cls()
        if state["found"] is not None:
            found._found = [
                (Heads(**one["heads"]), DetectionAccumulator.restored(one["sums"]))
                for one in state["found"]
            ]
        return found

    def judged(self, outputs: Iterable[OutputParity]) -> tuple[OutputParity, ...]:
        """The outputs, with what is known of the detections that they hold."""
        known = {
            name: (heads, accumulator)
            for heads, accumulator in self._found or ()
            if accumulator.is_one
            for name in heads.outputs
        }
        return tuple(
            _as_detections(one, *known[one.output]) if one.output in known else one
            for one in outputs
        )


def _as_detections(
    output: OutputParity, heads: Heads, detections: DetectionAccumulator
) -> OutputParity:
    decibels = {
        heads.boxes: detections.decibels_of_boxes,
        heads.scores: detections.decibels_of_scores,
    }
    return replace(
        output,
        kind="detections",
        distribution=False,
        agreement=detections.agreement,
        sqnr_db=decibels.get(output.output),
        neighbours=None,
    )


def find_heads(outputs: Mapping[str, Array]) -> list[Heads]:
    """The outputs that belong together, by the values of some samples."""
    found: list[Heads] = []
    for name, values in outputs.items():
        if values.dtype.kind == "f" and _is_of_boxes(values):
            others = {key: other for key, other in outputs.items() if key != name}
            heads = _heads_of(name, _boxes(values), others)
            if heads is not None:
                found.append(heads)
    taken = [key for heads in found for key in heads.outputs]
    return [heads for heads in found if all(taken.count(key) == 1 for key in heads.outputs)]


def _is_of_boxes(values: Array) -> bool:
    """[samples, boxes, 4], or [samples, boxes, 1, 4] of boxes that all classes share."""
    middle = values.shape[2:-1]
    return values.ndim in (3, 4) and values.shape[-1] == 4 and middle in ((), (1,))


def _boxes(values: Array) -> Array:
    return np.asarray(values.reshape(*values.shape[:2], 4), np.float64)


def _heads_of(name: str, boxes: Array, others: Mapping[str, Array]) -> Heads | None:
    samples, places = boxes.shape[:2]
    rows = {key: one for key, one in others.items() if one.shape == (samples, places)}
    whole = {key: one for key, one in rows.items() if _is_whole(one)}
    scores = [key for key, one in rows.items() if key not in whole and _are_scores(one)]
    tables = [
        key
        for key, one in others.items()
        if one.ndim == 3 and one.shape[:2] == (samples, places) and _are_scores(one)
    ]
    if len(scores) == 1:
        heads = Heads(name, scores[0], _classes(whole), _count(others, samples, places))
    elif not scores and len(tables) == 1:
        background = _background(others[tables[0]])
        heads = Heads(name, tables[0], scores_of_all=True, background=background)
    else:
        return None
    joined = heads.join({name: boxes, **others})
    counting = joined[joined[..., 4 : None if heads.scores_of_all else 5].max(axis=2) > 0]
    corners = have_corners(counting[:, :4])
    return None if corners is None else replace(heads, corners=corners)


def _are_scores(values: Array) -> bool:
    """From 0 to 1, or -1 where no box is."""
    if values.dtype.kind != "f" or not values.size:
        return False
    return bool(((values >= 0) | (values == -1)).all() and values.max() <= 1)


def _is_whole(values: Array) -> bool:
    return values.dtype.kind in "iuf" and bool((values == np.floor(values)).all())


def _classes(whole: Mapping[str, Array]) -> str | None:
    """The output of classes: the one that is called so, or the only one."""
    named = [key for key in whole if any(word in key.lower() for word in _CLASS_WORDS)]
    for keys in (named, list(whole)):
        if len(keys) == 1:
            return keys[0]
    return None


def _count(others: Mapping[str, Array], samples: int, places: int) -> str | None:
    """The output of how many boxes of a sample count."""
    counts = [
        key
        for key, one in others.items()
        if one.shape in ((samples,), (samples, 1))
        and one.size
        and _is_whole(one)
        and one.min() >= 0
        and one.max() <= places
    ]
    return counts[0] if len(counts) == 1 else None


def _background(scores: Array) -> int | None:
    """Of probabilities that sum to one, the class that wins most boxes is that of no object."""
    if scores.shape[2] < 2 or np.abs(scores.sum(axis=2) - 1).max() > 1e-3:
        return None
    return int(np.bincount(scores.argmax(axis=2).reshape(-1)).argmax())
