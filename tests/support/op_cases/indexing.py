"""Taking, putting and grouping by indices."""

from __future__ import annotations

from typing import Any

import numpy as np
from op_cases.case import B, F, I, OpCase, Tensor, ascending, on_each, op

X, N = F("n", 4, 6), I("n", 4, 6)
INDICES = I("n", low=0, high=4)
LONG = I("n", low=0, high=4, dtype="int64")


def cases() -> list[OpCase]:
    return [*_taking(), *_slicing(), *_scattering(), *_segments(), *_searching(), *_encoding()]


def _taking() -> list[OpCase]:
    found: list[OpCase] = []
    for axis in (1, 2, -1, None):
        for data in (X, N):
            for dtype in ("int32", "int64"):
                found += op(
                    "take",
                    data,
                    I(2, low=-4, high=4, dtype=dtype),
                    variant=f"axis={axis}",
                    call=lambda ops, x, i, axis=axis: ops.take(x, i, axis=axis),
                )
    return [
        *found,
        *op("take", X, call=lambda ops, x: ops.take(x, [0, -1], axis=2), variant="constant"),
        *op("take", X, call=lambda ops, x: ops.take(x, 1, axis=1), variant="number"),
        *op("take_along_axis", X, I("n", 4, 6, low=0, high=4), axis=2),
        *op("take_along_axis", N, I("n", 4, 2, low=-6, high=6), axis=-1),
        *op("take_along_axis", X, I("n", 4, 6, low=0, high=4, dtype="int64"), axis=2),
        *op("nonzero", I(5, low=0, high=2)),
        *op("nonzero", F("n", 4)),
        *op("where", B(5), call=lambda ops, x: ops.where(x), variant="places"),
        *op("unravel_index", I("n", low=0, high=24), shape=(4, 6)),
        *op(
            "select",
            B("n", 4),
            B("n", 4),
            F("n", 4),
            F("n", 4),
            call=lambda ops, a, b, x, y: ops.select([a, b], [x, y], 7.0),
        ),
    ]


def _slicing() -> list[OpCase]:
    def items(ops: Any, x: Any) -> Any:
        return ops.get_item(x, (slice(None), slice(1, None), slice(None, None, -1), 2))

    start = I(low=0, high=2)
    return [
        *on_each("get_item", X, N, call=items),
        *op("get_item", X, variant="ellipsis", call=lambda ops, x: x[..., None, 1:3]),
        *op("get_item", X, variant="negative", call=lambda ops, x: x[:, -2:, ::2, -1]),
        *op(
            "get_item", X, INDICES, variant="tensor", call=lambda ops, x, i: x[:, 1:][:, :, i[0, 0]]
        ),
        *op("get_item", X, B("n"), variant="mask", call=lambda ops, x, m: x[m]),
        *on_each("slice", F(5, 4), I(5, 4), call=lambda ops, x: ops.slice(x, (0, 1, 2), (1, 3, 2))),
        *op(
            "slice",
            F(5, 4),
            start,
            variant="tensor",
            call=lambda ops, x, s: ops.slice(x, ops.stack([0, s[0], s[0]]), (1, 3, 2)),
        ),
        *on_each("slice_update", F(5, 4), I(5, 4), call=_updated),
        *op(
            "slice_update",
            F(5, 4),
            F(2, 4),
            start,
            variant="tensor",
            call=lambda ops, x, u, s: ops.slice_update(x, ops.stack([0, s[0], 0]), u),
        ),
        *op(
            "slice_update",
            F("n", 4),
            F(2, 4),
            start,
            variant="long",
            call=lambda ops, x, u, s: ops.slice_update(x, (0, s[0], 0), u),
        ),
        *op(
            "slice_update",
            F(5, 4),
            F(2, 4),
            variant="clamped",
            call=lambda ops, x, u: ops.slice_update(x, (0, 4, 0), u),
        ),
    ]


def _updated(ops: Any, x: Any) -> Any:
    return ops.slice_update(x, (0, 1, 0), x[:, 3:, :] * 2)


def _scattering() -> list[OpCase]:
    pairs = np.array([[0, 1], [0, 3], [0, 1]], np.int32)
    places = np.array([[1], [3], [1]], np.int32)
    found: list[OpCase] = []
    for data in (F(3, 4), I(3, 4)):
        found += op("scatter", data, call=lambda ops, x: ops.scatter(places, x[0], (5, 4)))
        for how in (None, "add", "max", "min", "mul"):
            unlike = np.array([[0, 1], [0, 3], [0, 0]], np.int32) if how is None else pairs
            found += op(
                "scatter_update",
                F(6, 4) if data.dtype == "float32" else I(6, 4),
                data,
                variant=f"reduction={how}",
                call=lambda ops, x, u, unlike=unlike, how=how: ops.scatter_update(
                    x, unlike, u[0], reduction=how
                ),
            )
    found += op(
        "scatter_update",
        F("n", 4),
        I(2, 2, low=0, high=1),
        F(2, 4),
        variant="indices",
        call=lambda ops, x, i, u: ops.scatter_update(x, i[0], u[0], reduction="add"),
    )
    return found


def _segments() -> list[OpCase]:
    found: list[OpCase] = []
    ids = Tensor((6,), "int32", lambda rng, sizes: np.sort(rng.integers(0, 4, sizes), axis=-1))
    mixed = I(6, low=0, high=4)
    for name in ("segment_max", "segment_min", "segment_prod", "segment_sum"):
        for data in (F(6), I(6)):
            found += op(
                name,
                data,
                ids,
                variant="sorted",
                call=lambda ops, x, i, name=name: getattr(ops, name)(x[0], i[0], sorted=True),
            )
            found += op(
                name,
                data,
                mixed,
                variant="rows",
                call=lambda ops, x, i, name=name: getattr(ops, name)(x[0], i[0], num_segments=5),
            )
        found += op(
            name,
            F("n", 3),
            I("n", low=0, high=4),
            variant="matrix",
            call=lambda ops, x, i, name=name: getattr(ops, name)(x[0], i[0], num_segments=4),
        )
        found += op(
            name,
            F("n", 3),
            I("n", low=0, high=4),
            variant="matrix,open",
            call=lambda ops, x, i, name=name: getattr(ops, name)(x[0], i[0]),
        )
    return found


def _searching() -> list[OpCase]:
    found: list[OpCase] = []
    for side in ("left", "right"):
        found += op(
            "searchsorted",
            ascending("n"),
            F("m", low=-9, high=9),
            variant=f"side={side}",
            call=lambda ops, s, v, side=side: _searched(ops, s, v, side),
        )
        found += op(
            "searchsorted",
            ascending("n", dtype="int32"),
            I("m"),
            variant=f"side={side}",
            call=lambda ops, s, v, side=side: _searched(ops, s, v, side),
        )
    few = I(3, low=-3, high=3)
    found += op("isin", I("n", 4), few)
    found += op("isin", I("n", 4), few, invert=True)
    found += op("isin", F("n", 4), variant="constant", call=lambda ops, x: ops.isin(x, [0.5, 1.0]))
    return found


def _searched(ops: Any, numbers: Any, values: Any, side: str) -> Any:
    # The type is int32 or int64, whether Keras knows the size or not.
    return ops.cast(ops.searchsorted(numbers[0], values[0], side=side), "int32")


def _encoding() -> list[OpCase]:
    labels = I("n", low=0, high=5)
    return [
        *on_each("one_hot", labels, LONG, num_classes=5),
        *op("one_hot", I("n", low=-1, high=6), num_classes=5, axis=1, variant="outside"),
        *op("one_hot", labels, num_classes=5, dtype="int32"),
        *on_each("multi_hot", labels, LONG, num_classes=5),
        *op("multi_hot", labels, num_classes=5, dtype="int32"),
    ]
