"""How far an exported model's output may differ from that of Keras."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from runtimes.base import Array
from runtimes.errors import ConversionError
from runtimes.parity.masked import MASK_TOLERANCE, masked_elements
from runtimes.parity.tolerance import ABSOLUTE_FLOOR, noise_tolerance, relative_tolerance

_DEFECT = "This is a defect of the export; please report it with the model"


def judge(
    name: str,
    reference: Array,
    found: Array,
    *,
    where: str,
    model: str,
    noises: Iterable[Callable[[], float]],
) -> tuple[float, float]:
    """The largest error of an output and what is allowed; ``ConversionError`` if it is exceeded.

    ``noises`` measure how far rounding alone changes the output; they are called one after another
    until the error is allowed. ``where`` describes the sample, for the message.
    """
    _check_form(name, reference, found, where)
    error, allowed = max_error(reference, found), allowed_error(reference)
    for noise in noises:
        if error <= allowed:
            break
        allowed = max(allowed, noise_tolerance(noise()))
    if error > allowed:
        raise ConversionError(
            f"the exported model does not match the Keras model {model!r}: output {name!r} "
            f"differs by {error:.3g} at {where}, but rounding explains only {allowed:.3g}. "
            f"{_DEFECT}"
        )
    return error, allowed


def agree(reference: Array, found: Array) -> bool:
    """Whether two outputs are equal up to the usual rounding differences between frameworks."""
    same_form = reference.shape == found.shape and reference.dtype == found.dtype
    return same_form and max_error(reference, found) <= allowed_error(reference)


def max_error(reference: Array, found: Array) -> float:
    """Largest absolute difference; infinite where NaN, infinity or a discrete value differs.

    What a mask wrote, such as -1e9, counts only where it is no longer that.
    """
    if reference.dtype.kind in "OSU":
        same = [_text(a) == _text(b) for a, b in zip(reference.flat, found.flat, strict=True)]
        return 0.0 if all(same) else float("inf")
    wide, other = reference.astype(np.float64), found.astype(np.float64)
    finite = np.isfinite(wide)
    if not np.array_equal(finite, np.isfinite(other)) or not np.array_equal(
        wide[~finite], other[~finite], equal_nan=True
    ):
        return float("inf")
    error = np.abs(wide[finite] - other[finite])
    if reference.dtype.kind in "fV":
        masked = masked_elements(reference)[finite]
        error[masked & (error <= MASK_TOLERANCE * np.abs(wide[finite]))] = 0.0
    return float(np.max(error, initial=0.0))


def max_difference(reference: Array, other: Array) -> float:
    """Largest absolute difference of the elements that are finite in both."""
    difference = other.astype(np.float64) - reference.astype(np.float64)
    return float(np.nanmax(np.abs(difference), initial=0.0))


def allowed_error(reference: Array) -> float:
    """The error that rounding may explain without a measurement; zero for other than floats."""
    if reference.dtype.kind not in "fV" or reference.size == 0:  # V: bfloat16 and similar types
        return 0.0
    wide = np.abs(reference.astype(np.float64))
    peak = float(np.max(wide, where=~masked_elements(reference) & np.isfinite(wide), initial=0.0))
    return max(relative_tolerance(peak, reference.dtype.name), ABSOLUTE_FLOOR)


def _check_form(name: str, reference: Array, found: Array, where: str) -> None:
    if reference.shape != found.shape:
        raise ConversionError(
            f"output {name!r} of the exported model has the shape {found.shape} at {where}, but "
            f"in Keras {reference.shape}. {_DEFECT}"
        )
    if reference.dtype != found.dtype and reference.dtype.kind not in "OSU":
        raise ConversionError(
            f"output {name!r} of the exported model is {found.dtype}, but in Keras "
            f"{reference.dtype}. {_DEFECT}"
        )


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
