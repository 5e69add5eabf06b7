"""The error of one output against its reference, accumulated batch by batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtimes.base import Array
from runtimes.parity.detections import DetectionAccumulator
from runtimes.parity.error_sums import ErrorSums
from runtimes.parity.masked import MASK_TOLERANCE, MaskFinder
from runtimes.parity.neighbours import NeighbourAccumulator
from runtimes.parity.output_kind import AxisAccumulator, OutputKind, class_axes, kind_of

# Outputs are compared in float64, some of them at a time where they are large (images, say).
_CHUNK_ELEMENTS = 4_000_000


@dataclass(frozen=True)
class OutputParity:
    """How far one output of the candidate is from the reference's, over all samples.

    What a mask wrote (``mask``: its constants, such as -1e9; ``masked``: how many elements) is
    compared apart and is in none of the other numbers but ``outside`` and ``elements``.
    ``max_relative_error`` is the largest error of a sample relative to the sample's largest
    magnitude. ``sqnr_db`` is 10·log10(Σ reference² / Σ error²), infinite where nothing differs,
    None for outputs that are not floats; of ``quantities``, the lowest of a column.
    ``agreement`` is the share of equal argmax over the axis of classes (of equal values where the
    output is not a float), None where that means nothing. ``kind``: what the reference's values
    are, see ``OutputKind``. ``distribution``: they are probabilities.
    Of ``detections``, both are of the confident ones: ``agreement`` the share that is found again.
    ``neighbours`` of an embedding: mean cosine, and share of samples whose nearest is the same.
    ``reference_peak`` is the largest magnitude of the reference. ``outside`` of ``elements``
    elements lie beyond the rtol/atol that was asked for, None where none was. ``worst_sample``
    holds the largest error. ``problem`` says what cannot be compared: NaN, another shape or
    dtype, with its place. ``noise`` is the reference's own rounding error, absolute, as
    ``runtimes.parity.rounding_noise`` measured it by ``noise_method``; None where it was not.
    """

    output: str
    provider: str
    elements: int
    max_abs_error: float
    mean_abs_error: float
    max_relative_error: float
    sqnr_db: float | None
    agreement: float | None
    distribution: bool
    reference_peak: float
    worst_sample: int | None
    outside: int | None
    problem: str | None
    kind: OutputKind = "values"
    noise: float | None = None
    noise_method: str | None = None
    neighbours: tuple[float, float] | None = None
    mask: tuple[float, ...] = ()
    masked: int = 0


class ParityAccumulator:
    """Adds up what ``OutputParity`` holds, in memory that does not grow with the samples."""

    def __init__(
        self, output: str, provider: str, *, rtol: float | None = None, atol: float | None = None
    ) -> None:
        self._output, self._provider = output, provider
        self._rtol, self._atol = rtol or 0.0, atol or 0.0
        self._bounded = rtol is not None or atol is not None
        self._outside = self._rows = self._agreeing = 0
        self._all = ErrorSums()
        self._unmasked: ErrorSums | None = None  # None as long as it is the same as all
        self._finder = MaskFinder()
        self._farthest_mask = (0.0, -1)  # relative error of a masked element, and its sample
        self._is_float = True
        self._rank = 0
        self._axes: list[AxisAccumulator] = []
        self._detections = DetectionAccumulator()
        self._neighbours = NeighbourAccumulator()
        self.problem: str | None = None

    def open(self, reference: Array) -> None:
        """Look at the reference's first values, which say what all of them hold."""
        if _is_float(reference) and reference.size:
            rows = max(1, _CHUNK_ELEMENTS // (reference.size // len(reference)))
            self._detections.open(reference[:rows].astype(np.float64))

    def absorb(self, later: ParityAccumulator) -> None:
        """Add what was found in batches that come later; both were opened with the same values."""
        self.problem = self.problem or later.problem
        self._is_float = self._is_float and later._is_float
        for count in ("_outside", "_rows", "_agreeing"):
            setattr(self, count, getattr(self, count) + getattr(later, count))
        if self._unmasked is not None or later._unmasked is not None:
            self._unmasked = self._unmasked or self._all.copy()
            self._unmasked.absorb(later._unmasked or later._all)
        self._all.absorb(later._all)
        self._finder.absorb(later._finder)
        self._farthest_mask = max(self._farthest_mask, later._farthest_mask, key=lambda far: far[0])
        if not self._rank:
            self._rank, self._axes = later._rank, later._axes
        elif later._rank == self._rank:
            for axis, other in zip(self._axes, later._axes, strict=True):
                axis.absorb(other)
        self._detections.absorb(later._detections)
        self._neighbours.absorb(later._neighbours)

    def state(self) -> dict[str, Any]:
        """What ``restore`` takes: a tree of plain values and arrays."""
        unmasked = None if self._unmasked is None else self._unmasked.state()
        return {
            "counts": [self._outside, self._rows, self._agreeing, self._rank],
            "is_float": self._is_float,
            "all": self._all.state(),
            "unmasked": unmasked,
            "finder": self._finder.state(),
            "farthest_mask": list(self._farthest_mask),
            "axes": [axis.state() for axis in self._axes],
            "detections": self._detections.state(),
            "neighbours": self._neighbours.state(),
            "problem": self.problem,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become what ``state`` was taken of: an accumulator of the same output and tolerances."""
        self._outside, self._rows, self._agreeing, self._rank = state["counts"]
        self._is_float, self.problem = bool(state["is_float"]), state["problem"]
        self._all = ErrorSums.restored(state["all"])
        unmasked = state["unmasked"]
        self._unmasked = None if unmasked is None else ErrorSums.restored(unmasked)
        self._finder = MaskFinder.restored(state["finder"])
        relative, sample = state["farthest_mask"]
        self._farthest_mask = (float(relative), int(sample))
        self._axes = [AxisAccumulator.restored(axis) for axis in state["axes"]]
        self._detections = DetectionAccumulator.restored(state["detections"])
        self._neighbours = NeighbourAccumulator.restored(state["neighbours"])

    def update(self, reference: Array, candidate: Array, indices: Array) -> Array | None:
        """Add a batch: arrays of one shape and dtype, ``indices`` the samples' positions.

        Gives the largest error of each sample, None where the values have no distance.
        """
        problem = _incomparable(reference, candidate, indices)
        if problem:
            self.problem = self.problem or problem
            return None
        self._is_float = _is_float(reference)
        if not self._is_float:
            self._compare_exactly(reference, candidate)
        if reference.dtype.kind in "OUSb" or reference.size == 0:
            return None
        rows = max(1, _CHUNK_ELEMENTS // (reference.size // len(reference)))
        errors = []
        for start in range(0, len(reference), rows):
            chunk = slice(start, start + rows)
            errors.append(self._compare_values(reference[chunk], candidate[chunk], indices[chunk]))
        return np.concatenate(errors)

    @property
    def mask(self) -> tuple[float, ...]:
        """The constants that a mask wrote into the reference, as far as was seen."""
        if self._unmasked is None or not self._unmasked.elements:
            return ()
        return self._finder.constants(self._unmasked.peak)

    def result(self) -> OutputParity:
        """What has been added up so far."""
        mask = self.mask
        sums = self._unmasked if mask and self._unmasked is not None else self._all
        nothing = sums.elements == 0
        sqnr, agreement = None, self._agreeing / self._rows if self._rows else None
        kind: OutputKind = "values"
        if self._is_float and not nothing:
            axes = [axis.without_masked() for axis in self._axes] if mask else self._axes
            kind, axis = kind_of(axes, self._rank)
            sqnr = sums.decibels
            if self._detections.is_one:
                kind = "detections"
                agreement, sqnr = self._detections.agreement, self._detections.decibels
            elif axis is not None:
                agreement = _agreement(kind, axis)
                sqnr = axis.worst_decibels() if kind == "quantities" else sqnr
        return OutputParity(
            output=self._output,
            provider=self._provider,
            elements=self._all.elements,
            max_abs_error=math.nan if nothing else sums.max_abs,
            mean_abs_error=math.nan if nothing else sums.mean_abs,
            max_relative_error=math.nan if nothing else sums.max_relative,
            sqnr_db=sqnr,
            agreement=agreement,
            distribution=kind == "probabilities",
            kind=kind,
            neighbours=self._neighbours.found() if kind == "embedding" else None,
            reference_peak=sums.peak,
            worst_sample=sums.worst_sample,
            outside=self._outside if self._bounded else None,
            problem=self.problem or self._problem_of(mask),
            mask=mask,
            masked=self._all.elements - sums.elements,
        )

    def _problem_of(self, mask: tuple[float, ...]) -> str | None:
        """What is no longer masked in the candidate is another answer, however small the rest."""
        relative, sample = self._farthest_mask
        if not mask or relative <= MASK_TOLERANCE:
            return None
        constants = ", ".join(f"{value:g}" for value in mask)
        return f"masked elements ({constants}) differ by {relative:.0%} at sample {sample}"

    def _compare_exactly(self, reference: Array, candidate: Array) -> None:
        self._rows += reference.size
        self._agreeing += int((reference == candidate).sum())

    def _compare_values(self, reference: Array, candidate: Array, indices: Array) -> Array:
        expected, found = reference.astype(np.float64), candidate.astype(np.float64)
        with np.errstate(invalid="ignore"):
            error = np.abs(found - expected)
        error[expected == found] = 0.0  # also where both are the same infinity
        magnitude = np.abs(expected)
        magnitude[np.isinf(expected)] = 0.0
        self._outside += int((error > self._atol + self._rtol * magnitude).sum())
        suspects = self._finder.suspects(expected, magnitude) if self._is_float else None
        if self._is_float:
            self._compare_axes(expected, found, error, suspects)
        self._compare_unmasked(error, magnitude, indices, suspects)
        return self._all.add(error, magnitude, indices, error.size)

    def _compare_unmasked(
        self, error: Array, magnitude: Array, indices: Array, suspects: Array | None
    ) -> None:
        """Add what no mask can have written; as long as that is everything, it is not kept."""
        if suspects is None:
            if self._unmasked is not None:
                self._unmasked.add(error, magnitude, indices, error.size)
            return
        if self._unmasked is None:
            self._unmasked = self._all.copy()
        relative = np.where(suspects, error / np.where(suspects, magnitude, 1.0), 0.0)
        row = int(relative.reshape(len(error), -1).max(axis=1).argmax())
        self._farthest_mask = max(
            self._farthest_mask, (float(relative.max()), int(indices[row])), key=lambda far: far[0]
        )
        keep = ~suspects
        self._unmasked.add(error * keep, magnitude * keep, indices, int(keep.sum()))

    def _compare_axes(
        self, expected: Array, found: Array, error: Array, suspects: Array | None
    ) -> None:
        if not self._rank:
            self._rank = expected.ndim
            self._axes = [AxisAccumulator(axis) for axis in class_axes(expected.ndim)]
        for axis in self._axes:
            axis.update(expected, found, error, suspects)
        self._detections.update(expected, found)
        self._neighbours.update(expected, found)


def _agreement(kind: OutputKind, axis: AxisAccumulator) -> float | None:
    """The share of rows with the same answer, where rows have an answer."""
    if kind == "scores":
        return axis.agreeing_scored / axis.scored if axis.scored else None
    return axis.agreeing / axis.rows if kind in ("probabilities", "classes") else None


def _incomparable(reference: Array, candidate: Array, indices: Array) -> str | None:
    if reference.dtype != candidate.dtype:
        return f"dtype {candidate.dtype.name} instead of {reference.dtype.name}"
    if reference.shape != candidate.shape:
        return (
            f"shape {list(candidate.shape)} instead of {list(reference.shape)} "
            f"from sample {indices[0]} on"
        )
    if reference.shape[:1] != indices.shape:
        return f"shape {list(reference.shape)} for {len(indices)} samples: no axis for samples"
    if not _is_float(reference):
        return None
    for whose, wrong in (
        ("the reference gives NaN", np.isnan(reference)),
        ("NaN", np.isnan(candidate)),
        ("infinity", np.isinf(candidate) & (reference != candidate)),
        ("no infinity where the reference has one", np.isinf(reference) & (reference != candidate)),
    ):
        if wrong.any():
            place = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
            return f"{whose} at sample {indices[place[0]]}, element {[int(i) for i in place[1:]]}"
    return None


def _is_float(array: Array) -> bool:
    return array.dtype.kind == "f" or "float" in array.dtype.name
