"""Reductions, cumulative functions, statistics and counting."""

from __future__ import annotations

from op_cases.case import B, F, I, OpCase, ascending, on_each, op, refused, shuffled, with_nan

X, N = F("n", 4, 3), I("n", 4, 3)
NAN = with_nan("n", 6)


def cases() -> list[OpCase]:
    return [*_plain(), *_arg(), *_cumulative(), *_nan(), *_quantiles(), *_statistics()]


def _plain() -> list[OpCase]:
    numbers = "amax amin max min mean sum std var ptp count_nonzero"
    found: list[OpCase] = []
    for axis in (1, -1, (1, 2), None):
        found += on_each(numbers, X, N, axis=axis)
        found += on_each("prod", X, I("n", 4, 3, low=-2, high=3), axis=axis)
        found += on_each("all any", B("n", 4, 3), I("n", 4, 3, low=0, high=2), axis=axis)
        found += on_each("logsumexp median", X, axis=axis)
    found += on_each("amax max min mean prod sum std var logsumexp", X, axis=-1, keepdims=True)
    found += on_each("mean sum max", B("n", 4, 3), axis=-1)
    found += on_each("max min", X, axis=1, initial=0.5)
    found += op("average", X, axis=1)
    found += op("average", N, axis=-1)
    found += op(
        "average",
        X,
        F("n", 4, 3, low=0.1),
        call=lambda ops, x, w: ops.average(x, 1, w),
        variant="weighted",
    )
    found += op("moments", X, axes=[1, 2])
    found += op("moments", X, axes=[0], keepdims=True)
    for order in (None, 1, 2, "inf"):
        norm = float("inf") if order == "inf" else order
        found += op("norm", X, ord=norm, axis=-1)
    for order in ("fro", 1, -1):
        found += op("norm", F("n", 4, 3), ord=order, axis=(2, 3))
    for order in ("nuc", 2):
        cases = op("norm", F("n", 4, 3), ord=order, axis=(2, 3))
        found += refused(cases, "Svd", "ONNX has no singular values")
    found += op("norm", X)
    found += on_each("normalize", X, axis=1)
    found += on_each("normalize", X, axis=-1, order=1)
    return found


def _arg() -> list[OpCase]:
    found: list[OpCase] = []
    integers = shuffled("n", 9), shuffled("n", 9, dtype="int64")
    for axis in (1, -1, None):
        found += on_each("argmax argmin", X, I("n", 4, 3, low=-99, high=99), axis=axis)
    found += on_each("argmax argmin", X, axis=-1, keepdims=True)
    zeros = F("n", 4, low=-0.4, high=0.4)
    for name in ("argmax", "argmin"):
        found += op(
            name,
            zeros,
            variant="signed_zeros",
            call=lambda ops, x, name=name: getattr(ops, name)(ops.round(x) * 0.0 + 0.0 * x, -1),
        )
        found += op(
            name,
            I("n", 6, low=0, high=2),
            variant="ties",
            call=lambda ops, x, name=name: getattr(ops, name)(ops.cast(x, "float32"), axis=-1),
        )
    found += on_each("argsort sort", X, *integers)
    found += on_each("argsort sort", X, axis=1)
    found += op("sort", I("n", 9, dtype="uint8", low=0, high=9))
    found += on_each("argpartition", F("n", 7), shuffled("n", 9), kth=2)
    found += on_each("top_k", X, shuffled("n", 9), k=2)
    found += op("top_k", X, k=2, sorted=False)
    target = I(low=0, high=4)
    found += op("in_top_k", F(4), target, call=lambda ops, p, t: ops.in_top_k(t, p, k=2))
    found += op("in_top_k", F("n"), I(low=0, high=3), call=lambda ops, p, t: ops.in_top_k(t, p, 2))
    return found


def _cumulative() -> list[OpCase]:
    found: list[OpCase] = []
    for axis in (1, -1, None):
        found += on_each("cumsum cumprod", X, N, axis=axis)
        found += on_each("nancumsum nancumprod", NAN, axis=axis)
    found += on_each("diff", X, N)
    found += on_each("diff", X, axis=1, n=2)
    found += on_each("trapezoid", X, N)
    found += op("trapezoid", X, dx=0.5, axis=1)
    found += op("trapezoid", X, ascending("n", 4, 3), call=lambda ops, y, x: ops.trapezoid(y, x))
    return found


def _nan() -> list[OpCase]:
    found: list[OpCase] = []
    names = "nanargmax nanargmin nanmax nanmean nanmedian nanmin nanprod nanstd nansum nanvar"
    for axis in (-1, None):
        found += on_each(names, NAN, N, axis=axis)
    found += on_each("nanmean nanmax nanstd", NAN, axis=-1, keepdims=True)
    found += on_each("nanpercentile", NAN, q=30, axis=-1)
    found += on_each("nanquantile", NAN, q=0.3, axis=-1)
    found += on_each("nanquantile", F("n", 6), q=[0.25, 0.75], axis=-1)
    return found


def _quantiles() -> list[OpCase]:
    found: list[OpCase] = []
    for method in ("linear", "lower", "higher", "midpoint", "nearest"):
        found += op("quantile", F("n", 7), q=0.4, axis=-1, method=method)
    found += op("quantile", F("n", 7), q=[0.1, 0.5], axis=1)
    found += op("quantile", F("n", 7), q=0.4)
    found += op("percentile", F("n", 7), q=40, axis=-1, keepdims=True)
    found += op("percentile", I("n", 7), q=25, axis=1)
    found += op("median", I("n", 7), axis=1)
    found += op("median", F("n", 6), axis=-1, keepdims=True)
    return found


def _statistics() -> list[OpCase]:
    found: list[OpCase] = []
    counted = I("n", low=0, high=6)
    found += op("bincount", counted, minlength=8)
    found += op("bincount", counted)
    found += op(
        "bincount",
        counted,
        F("n"),
        variant="weights",
        call=lambda ops, x, w: ops.bincount(x, weights=w, minlength=6),
    )
    found += op("histogram", F("n", 4), bins=5, range=(-2.0, 2.0))
    found += op("histogram", F("n", 4), bins=5)
    found += on_each("digitize", F("n", 4), I("n", 4), bins=[-1.0, 0.5, 2.0])
    found += op("corrcoef", F("n"))
    found += op(
        "correlate",
        F(9),
        F(4),
        variant="row",
        tolerance=1e-4,
        call=lambda ops, x, y: ops.correlate(x[0], y[0], mode="valid"),
    )
    for mode in ("same", "full"):
        found += op(
            "correlate",
            F(9),
            F(4),
            variant=mode,
            call=lambda ops, x, y, mode=mode: ops.correlate(x[0], y[0], mode=mode),
        )
    found += op("unique", I(6, low=0, high=4), call=lambda ops, x: ops.unique(x))
    found += op(
        "unique",
        I(6, low=0, high=4),
        variant="all_of_it",
        call=lambda ops, x: ops.unique(
            x, return_index=True, return_inverse=True, return_counts=True
        ),
    )
    found += op(
        "unique",
        I(6, low=0, high=4),
        variant="size",
        call=lambda ops, x: ops.unique(x, size=5, fill_value=-1),
    )
    return found
