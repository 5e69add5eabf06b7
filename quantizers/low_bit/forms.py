"""The forms that a weight can be stored in, from many bits to few, and what each costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from quantizers.low_bit.codes import BLOCK, clustered, clustered_codes, error_of, scaled
from quantizers.low_bit.targets import Target
from quantizers.low_bit.weight import LowBitWeight
from runtimes.base import Array

Form = Literal["int8", "int4", "16 clusters", "4 clusters"]
"""How a weight is stored: scales for each row (int8) or block (int4), or clusters."""

# Bytes of the nodes that make a weight of its codes, with their names.
_NODE_BYTES = 55

_FLOAT: Mapping[Form, Callable[[Array, Target], LowBitWeight]] = {
    "int8": lambda weight, of: scaled(weight, 8, rows=of.rows, inputs=of.inputs),
    "int4": lambda weight, of: scaled(weight, 4, rows=of.rows, block=BLOCK, inputs=of.inputs),
    "16 clusters": lambda weight, of: clustered(weight, 16, rows=of.rows, inputs=of.inputs),
    "4 clusters": lambda weight, of: clustered(weight, 4, rows=of.rows, inputs=of.inputs),
}

_INT8: tuple[Form, ...] = ("16 clusters", "4 clusters")


@dataclass(frozen=True)
class Stored:
    """A weight in some form: bytes in the file, and the squared error that it causes."""

    form: Form
    weight: LowBitWeight
    bytes: int
    error: float


def forms_of(target: Target) -> tuple[Form, ...]:
    """The forms that ``target`` can have, from many bits to few."""
    return _INT8 if target.is_int8 else tuple(_FLOAT)


def store_as(weight: Array, target: Target, form: Form) -> Stored:
    """``weight``, which is that of ``target``, in a form that it can have."""
    if target.is_int8:
        found = clustered_codes(
            weight,
            int(form.split()[0]),
            rows=target.rows,
            row_scale=target.row_scale,
            inputs=target.inputs,
            limit=target.limit(weight),
        )
    else:
        found = _FLOAT[form](weight, target)
    error = error_of(weight, found, target.rows, target.inputs, target.row_scale)
    return Stored(form, found, found.constant_bytes + _overhead(found), error)


def ladder(weight: Array, target: Target) -> list[Stored]:
    """The forms of a weight that are worth it, from many bits to few.

    Each takes fewer bytes than the one before, and saves them at a higher price: the lower convex
    hull of error over bytes.
    """
    found: list[tuple[int, float, Stored | None]] = [(weight.nbytes, 0.0, None)]
    for form in forms_of(target):
        stored = store_as(weight, target, form)
        if stored.bytes >= found[-1][0]:
            continue
        while found[-1][2] is not None and _no_worth(found, stored):
            found.pop()
        found.append((stored.bytes, stored.error, stored))
    return [stored for _, _, stored in found if stored is not None]


def _no_worth(found: Sequence[tuple[int, float, Stored | None]], stored: Stored) -> bool:
    """Whether the last of ``found`` costs more a byte than going on to ``stored`` does."""
    (before, error, _), (last, more, _) = found[-2:]
    to_last = (more - error) / (before - last)
    return to_last >= (stored.error - more) / (last - stored.bytes)


def _overhead(weight: LowBitWeight) -> int:
    nodes = 2 if weight.bits == 8 else 5
    return _NODE_BYTES * (nodes + 3 * (weight.scale is not None))
