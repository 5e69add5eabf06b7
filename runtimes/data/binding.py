"""Fitting arrays to a model's inputs: which array is which input, and in what dtype."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from runtimes.base import Array, TensorSpec
from runtimes.errors import DataError

_INTEGERS = "biu"


def is_label(name: str) -> bool:
    """Whether an array of that name holds labels."""
    return name == "labels" or name.startswith("labels:")


def match_inputs(
    arrays: Sequence[TensorSpec], inputs: Sequence[TensorSpec], where: str
) -> dict[str, str]:
    """Say which array feeds which input: ``{input: array}``.

    By name; one array fits a single input whatever it is called; arrays without names
    (``#0``, ``#1``, …) go by order. Raises ``DataError`` listing what is missing or left over.
    """
    found = [spec.name for spec in arrays]
    wanted = [spec.name for spec in inputs]
    if len(found) == len(wanted) == 1 or (
        len(found) == len(wanted) and all(name.startswith("#") for name in found)
    ):
        return dict(zip(wanted, found, strict=True))
    missing = [name for name in wanted if name not in found]
    surplus = [name for name in found if name not in wanted]
    if missing or surplus:
        raise DataError(
            f"{where} holds the arrays {_listed(found)}, but the model's inputs are "
            f"{_listed(wanted)}; name each array after its input "
            "(labels: 'labels' or 'labels:<output>')"
        )
    return {name: name for name in wanted}


def check_array(array: TensorSpec, wanted: TensorSpec, where: str) -> str | None:
    """Raise ``DataError`` unless the array can feed the input; else say how it is converted.

    Only the shape of a sample counts: the first axis is the batch.
    """
    shape = array.shape or ()
    expected = None if wanted.shape is None else wanted.shape[1:]
    if expected is not None and (
        len(shape) != len(expected) + 1
        or any(
            isinstance(want, int) and want != have
            for want, have in zip(expected, shape[1:], strict=True)
        )
    ):
        raise DataError(
            f"{where}: the input {wanted.name!r} expects samples of shape {_shape(expected)}, "
            f"found {_shape(shape[1:])} in the array {array.name!r}"
        )
    if not _convertible(array.dtype, wanted.dtype):
        advice = ""
        if array.dtype.kind == "f" and wanted.dtype.kind in "iu":
            advice = "; save whole numbers with an integer dtype"
        raise DataError(
            f"{where}: the input {wanted.name!r} expects {_dtype(wanted.dtype)}, "
            f"found {_dtype(array.dtype)} in the array {array.name!r}{advice}"
        )
    if array.dtype.newbyteorder("=") == wanted.dtype or wanted.dtype.kind == "O":
        return None
    note = f"{wanted.name}: {_dtype(array.dtype)} made {_dtype(wanted.dtype)}"
    if array.dtype == np.uint8 and _is_float(wanted.dtype):
        note += ", values 0…255 kept as they are"
    return note


def convert(values: Array, dtype: np.dtype[Any], name: str, indices: Array, where: str) -> Array:
    """Convert a batch to ``dtype``; ``DataError`` naming the sample where a value would change.

    Between float widths rounding is accepted, overflow is not.
    """
    if values.dtype == dtype:
        return values
    if dtype.kind == "O":
        return values.astype(object)
    if _is_float(values.dtype):
        with np.errstate(over="ignore"):
            converted = values.astype(dtype)
        changed = np.isinf(converted.astype(np.float64)) & np.isfinite(values.astype(np.float64))
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            converted = values.astype(dtype)
        changed = _exceeds(values, dtype)
    if changed.any():
        place = np.unravel_index(int(np.argmax(changed)), changed.shape)
        raise DataError(
            f"{where}: {name!r} holds {values[place]} at sample {indices[place[0]]}, "
            f"which {_dtype(dtype)} cannot hold"
        )
    return converted


def check_finite(values: Array, name: str, indices: Array, where: str) -> None:
    """Raise ``DataError`` at the first NaN or infinity, naming array and sample."""
    if not _is_float(values.dtype):
        return
    finite = np.isfinite(values)
    if not finite.all():
        place = np.unravel_index(int(np.argmin(finite)), finite.shape)
        what = "NaN" if np.isnan(values[place]) else "infinity"
        raise DataError(
            f"{where}: the array {name!r} holds {what} at sample {indices[place[0]]}; "
            "leave that sample out or fix it"
        )


def _exceeds(values: Array, dtype: np.dtype[Any]) -> Array:
    """Which integers ``dtype`` cannot hold exactly."""
    if values.dtype.kind == "b":
        return np.zeros(values.shape, bool)
    if _is_float(dtype):
        # Beyond 2^(mantissa + 1) not every integer has a float of its own.
        limit = 2 ** (np.finfo(dtype).nmant + 1) if dtype.kind == "f" else 2**8
        low, high = -limit, limit
    else:
        info = np.iinfo(dtype)
        low, high = int(info.min), int(info.max)
    own = np.iinfo(values.dtype)
    if own.min >= low and own.max <= high:
        return np.zeros(values.shape, bool)
    # The bounds are compared as Python integers, which numpy does without overflow.
    return np.asarray((values < low) | (values > high))


def _convertible(found: np.dtype[Any], wanted: np.dtype[Any]) -> bool:
    if wanted.kind == "O":
        return found.kind in "OUS"
    if _is_float(wanted):
        return _is_float(found) or found.kind in _INTEGERS
    if wanted.kind in "iu":
        return found.kind in _INTEGERS
    return found.newbyteorder("=") == wanted


def _is_float(dtype: np.dtype[Any]) -> bool:
    # bfloat16 and the 8-bit floats of ml_dtypes are of kind V.
    return dtype.kind == "f" or "float" in dtype.name


def _dtype(dtype: np.dtype[Any]) -> str:
    return "text" if dtype.kind in "OUS" else dtype.name


def _shape(shape: Sequence[int | str | None]) -> str:
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in shape) + "]"


def _listed(names: Sequence[str] | Mapping[str, Any]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
