"""Shapes, order and place: reshaping, joining, splitting, padding, creating."""

from __future__ import annotations

from typing import Any

from op_cases.case import B, F, I, OpCase, on_each, op

X, N = F("n", 4, 6), I("n", 4, 6)


def cases() -> list[OpCase]:
    return [*_order(), *_joining(), *_splitting(), *_padding(), *_creating(), *_diagonals()]


def _order() -> list[OpCase]:
    found: list[OpCase] = []
    found += on_each("transpose fliplr flipud ravel", X, N)
    found += on_each("transpose", X, N, axes=(0, 2, 3, 1))
    found += on_each("swapaxes", X, N, axis1=1, axis2=-1)
    found += on_each("moveaxis", X, N, source=1, destination=-1)
    found += on_each("expand_dims", X, N, axis=2)
    found += on_each("squeeze", F("n", 1, 4), I("n", 1, 4), axis=2)
    for axis in (None, 1, (1, 2)):
        found += on_each("flip", X, N, axis=axis)
    found += on_each("rot90", X, N)
    found += on_each("rot90", X, k=2, axes=(1, 2))
    found += on_each("rot90", X, k=3, axes=(2, 1))
    found += on_each("roll", X, N, shift=2)
    found += on_each("roll", X, N, shift=-1, axis=1)
    found += on_each("roll", X, shift=(1, 2), axis=(1, 2))
    found += on_each("reshape", X, N, newshape=(-1, 24))
    found += on_each("reshape", X, newshape=(-1, 4, 3, 2))
    found += op("rearrange", X, call=lambda ops, x: ops.rearrange(x, "b n c d -> b (c d) n"))
    found += op(
        "rearrange",
        X,
        variant="split",
        call=lambda ops, x: ops.rearrange(x, "b n c (d e) -> b d n c e", e=2),
    )
    found += on_each("shape size", X, N)
    found += op(
        "shape", X, variant="used", call=lambda ops, x: ops.reshape(x, (ops.shape(x)[0], -1))
    )
    found += on_each("broadcast_to", F(1, 4), I(1, 4), call=_broadcast)
    found += on_each("tile", X, N, repeats=(1, 2, 1, 3))
    found += on_each("tile", X, repeats=2)
    for axis in (None, 1, -1):
        found += on_each("repeat", X, N, repeats=2, axis=axis)
    found += op("repeat", F(3), repeats=[1, 0, 2], axis=1)
    return found


def _broadcast(ops: Any, x: Any) -> Any:
    return ops.broadcast_to(x, (ops.shape(x)[0], 5, 4))


def _joining() -> list[OpCase]:
    found: list[OpCase] = []
    for given in ((X, X), (N, N), (N, X)):
        for name in ("concatenate", "stack"):
            for axis in (1, -1):
                found += op(
                    name,
                    *given,
                    variant=f"axis={axis}",
                    call=lambda ops, *xs, name=name, axis=axis: getattr(ops, name)(xs, axis=axis),
                )
        for name in ("hstack", "vstack", "dstack"):
            found += op(name, *given, call=lambda ops, *xs, name=name: getattr(ops, name)(xs))
        found += op("append", *given, axis=1)
    found += op("append", X, X)
    found += op("meshgrid", F(3), F(4), call=lambda ops, x, y: ops.meshgrid(x[0], y[0]))
    found += op(
        "meshgrid",
        F(3),
        I(4),
        variant="ij",
        call=lambda ops, x, y: ops.meshgrid(x[0], y[0], indexing="ij"),
    )
    found += op("unstack", F("n", 3), axis=2)
    found += op("unstack", I("n", 3), axis=-1)
    return found


def _splitting() -> list[OpCase]:
    found = on_each("split array_split", X, N, indices_or_sections=2, axis=2)
    found += on_each("split array_split", X, N, indices_or_sections=[1, 3], axis=2)
    found += on_each("array_split", X, indices_or_sections=4, axis=3)
    found += on_each("dsplit", X, N, indices_or_sections=2)
    found += on_each("hsplit", F(4, "n"), I(4, "n"), indices_or_sections=2)
    found += op(
        "vsplit", X, variant="moved", call=lambda ops, x: ops.vsplit(ops.moveaxis(x, 2, 0), 2)
    )
    return found


def _padding() -> list[OpCase]:
    found: list[OpCase] = []
    width = ((0, 0), (1, 2), (0, 1), (0, 0))
    for mode in ("constant", "reflect", "symmetric"):
        found += on_each("pad", X, N, pad_width=width, mode=mode)
    found += on_each("pad", X, N, pad_width=width, constant_values=3)
    found += op("pad", B("n", 4), pad_width=((0, 0), (1, 0), (0, 1)))
    return found


def _creating() -> list[OpCase]:
    found = on_each("zeros_like ones_like", X, N)
    found += op("empty_like", X, call=lambda ops, x: ops.empty_like(x) * 0)
    found += on_each("full_like", X, N, fill_value=2)
    for name in ("zeros", "ones"):
        found += op(name, X, call=lambda ops, x, name=name: x + getattr(ops, name)((4, 6)))
        found += op(
            name,
            X,
            variant="sized",
            call=lambda ops, x, name=name: getattr(ops, name)(ops.shape(x)[:2]) + x[:, :, 0, 0],
        )
    found += op("empty", X, call=lambda ops, x: x + 0 * ops.empty((4, 6)))
    found += op("full", X, call=lambda ops, x: x + ops.full((4, 6), 2.5))
    found += op(
        "full",
        X,
        variant="sized",
        call=lambda ops, x: ops.full(ops.shape(x)[:2], 2.5) + x[:, :, 0, 0],
    )
    found += op("full", X, F(), variant="value", call=lambda ops, x, v: x + ops.full((4, 6), v[0]))
    square = F(4, 4)
    for name in ("eye", "identity", "tri"):
        found += op(name, square, call=lambda ops, x, name=name: x * getattr(ops, name)(4))
    found += op("eye", square, variant="shifted", call=lambda ops, x: x * ops.eye(4, 4, k=1))
    found += op(
        "eye", F("n", 4), variant="sized", call=lambda ops, x: x[0] + ops.eye(ops.shape(x)[1], 4)
    )
    found += op("arange", F(5), call=lambda ops, x: x * ops.arange(5))
    found += op(
        "arange",
        X,
        variant="sized",
        call=lambda ops, x: ops.arange(ops.shape(x)[1])[None] + 0 * ops.shape(x)[0],
    )
    found += op("arange", F(5), variant="floats", call=lambda ops, x: x * ops.arange(0.0, 1.0, 0.2))
    for name in ("linspace", "logspace", "geomspace"):
        found += op(name, F(5), call=lambda ops, x, name=name: x * getattr(ops, name)(1.0, 3.0, 5))
        found += op(
            name,
            F(3, low=1, high=2),
            F(3, low=3, high=4),
            variant="tensors",
            call=lambda ops, a, b, name=name: getattr(ops, name)(a, b, num=5, axis=-1),
        )
    found += op(
        "linspace",
        F(3),
        F(3),
        variant="open",
        call=lambda ops, a, b: ops.linspace(a, b, num=5, endpoint=False, retstep=True),
    )
    for name in ("bartlett", "blackman", "hamming", "hanning"):
        found += op(name, F(8), call=lambda ops, x, name=name: x * getattr(ops, name)(8))
    found += op("kaiser", F(8), call=lambda ops, x: x * ops.kaiser(8, 4.0))
    found += op("vander", F(4), call=lambda ops, x: ops.vander(x[0]))
    found += op("vander", F(4), variant="N", call=lambda ops, x: ops.vander(x[0], 3, True))
    return found


def _diagonals() -> list[OpCase]:
    found: list[OpCase] = []
    for k in (0, 1, -2):
        found += on_each("tril triu", X, N, k=k)
        found += on_each("diagonal trace", F("n", 4, 5), I("n", 4, 5), **_axes(k))
        found += op("diag", F(4), variant=f"k={k}", call=lambda ops, x, k=k: ops.diag(x[0], k))
        found += op(
            "diag", F(4, 4), variant=f"matrix,k={k}", call=lambda ops, x, k=k: ops.diag(x[0], k)
        )
        found += op("diagflat", F(4), k=k)
    found += on_each("tril triu", B("n", 4))
    found += on_each("diagonal trace", F("n", "n"), axis1=1, axis2=2)
    found += op(
        "trace",
        F(3),
        variant="gram",
        call=lambda ops, x: ops.trace(ops.matmul(x, ops.transpose(x))),
    )
    return found


def _axes(k: int) -> dict[str, int]:
    return {"offset": k, "axis1": 2, "axis2": 3}
