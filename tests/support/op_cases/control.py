"""Branches, loops, scans and functions of functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from op_cases.case import F, I, OpCase, op

KERNEL = np.random.default_rng(5).standard_normal((3, 3, 2, 2)).astype(np.float32)
ROWS = F("n", 4)


def cases() -> list[OpCase]:
    return [*_branches(), *_loops(), *_scans(), *_mapping()]


def _branches() -> list[OpCase]:
    def positive(ops: Any, x: Any) -> Any:
        return ops.cond(ops.sum(x) > 0, lambda: x * 2, lambda: x - 1)

    def convolved(ops: Any, x: Any) -> Any:
        return ops.cond(
            ops.sum(x) > 0,
            lambda: ops.conv(x, KERNEL, padding="same"),
            lambda: ops.conv(x, KERNEL * 2, padding="same"),
        )

    def switched(ops: Any, i: Any, x: Any) -> Any:
        return ops.switch(i[0], [lambda y: y * 2, lambda y: y + 1, lambda y: -y], x)

    def several(ops: Any, x: Any) -> Any:
        return ops.cond(ops.mean(x) > 0, lambda: (x, x * 2), lambda: (x * 3, x))

    return [
        *op("cond", ROWS, call=positive),
        *op("cond", F("h", "w", 2), variant="convolutions", call=convolved),
        *op("cond", ROWS, variant="several", call=several),
        *op("switch", I(low=0, high=3), ROWS, call=switched),
        *op("switch", I(low=-2, high=6), ROWS, variant="clamped", call=switched),
    ]


def _loops() -> list[OpCase]:
    def halved(ops: Any, x: Any) -> Any:
        return ops.while_loop(
            lambda y: ops.max(ops.abs(y)) > 0.5, lambda y: (y / 2,), (x,), maximum_iterations=9
        )[0]

    def placed(ops: Any, x: Any) -> Any:
        def body(i: Any, y: Any) -> Any:
            return i + 1, ops.slice_update(y, (0, i, 0), y[:, :1] * 2 + ops.cast(i, "float32"))

        return ops.while_loop(lambda i, y: i < 3, body, (0, x))[1]

    def grown(ops: Any, x: Any) -> Any:
        def body(i: Any, y: Any) -> Any:
            return i + 1, ops.tanh(ops.matmul(y, KERNEL[0, 0])) + y

        return ops.while_loop(lambda i, y: i < 4, body, (0, x))[1]

    return [
        *op("while_loop", ROWS, call=halved),
        *op("while_loop", F(5, 4), variant="slice_update", call=placed),
        *op("while_loop", F("n", 2), variant="matmul", call=grown),
        *op(
            "fori_loop", ROWS, call=lambda ops, x: ops.fori_loop(0, 4, lambda i, y: y * 1.5 + 1, x)
        ),
        *op(
            "fori_loop",
            F(5, 4),
            variant="slice_update",
            call=lambda ops, x: ops.fori_loop(
                1,
                5,
                lambda i, y: ops.slice_update(
                    y, (0, i, 0), ops.slice(y, (0, i - 1, 0), (1, 1, 4)) * 0.5
                ),
                x[:1],
            ),
        ),
    ]


def _scans() -> list[OpCase]:
    def summed(reverse: bool) -> Any:
        def step(carry: Any, x: Any) -> Any:
            carry = carry * 0.5 + x
            return carry, carry * 2

        def call(ops: Any, x: Any) -> Any:
            xs = ops.moveaxis(x, 1, 0)
            return ops.scan(step, ops.zeros_like(xs[0]), xs, reverse=reverse)

        return call

    def counted(ops: Any, x: Any) -> Any:
        return ops.scan(lambda c, _: (c * 0.5, c), x, length=4)

    found = [
        *op("scan", F(5, 4), call=summed(False)),
        *op("scan", F(5, 4), variant="reverse", call=summed(True)),
        *op("scan", F(4), variant="length", call=counted),
        *op("scan", F("n", 4), variant="named", call=summed(False)),
    ]
    for reverse in (False, True):
        for size in (1, 2, 5, 8):
            found += op(
                "associative_scan",
                F(size, 3),
                variant=f"add,{size},{reverse}",
                call=lambda ops, x, reverse=reverse: ops.associative_scan(
                    ops.add, x, reverse=reverse, axis=1
                ),
                shapes=_like_input,
            )
        found += op(
            "associative_scan",
            F(6, low=0.2),
            F(6),
            variant=f"linear,{reverse}",
            call=lambda ops, a, b, reverse=reverse: ops.associative_scan(
                lambda p, q: (q[0] * p[0], q[0] * p[1] + q[1]), (a, b), reverse=reverse, axis=-1
            ),
            shapes=_like_input,
        )
    found += op(
        "associative_scan",
        F("n", 3),
        variant="named",
        call=lambda ops, x: ops.associative_scan(ops.add, x, axis=1),
        shapes=_like_input,
    )
    return found


def _mapping() -> list[OpCase]:
    def of_row(ops: Any) -> Any:
        return lambda row: ops.sum(row) * row

    def derivative(ops: Any, x: Any) -> Any:
        return ops.jvp(lambda y: ops.sin(y) * y, (x,), (ops.ones_like(x),))

    return [
        *op("map", F("n", 4), call=lambda ops, x: ops.map(of_row(ops), x)),
        *op(
            "map",
            F("n", 4),
            variant="pair",
            call=lambda ops, x: ops.map(lambda r: (r * 2, ops.max(r)), x),
        ),
        *op("vectorized_map", F("n", 4), call=lambda ops, x: ops.vectorized_map(of_row(ops), x)),
        *op("vectorize", F("n", 4), call=lambda ops, x: ops.vectorize(of_row(ops))(x)),
        *op(
            "vectorize",
            F("n", 4),
            variant="signature",
            call=lambda ops, x: ops.vectorize(ops.sum, signature="(d)->()")(x),
        ),
        *op("jvp", F("n", 4), call=derivative),
        *op("linalg.jvp", F("n", 4), call=derivative),
        *op("custom_gradient", F("n", 4), call=lambda ops, x: ops.custom_gradient(_doubled)(x)),
    ]


def _like_input(*tensors: Any) -> Any:
    import keras

    like = [keras.KerasTensor(tensor.shape, tensor.dtype) for tensor in tensors]
    return like if len(like) > 1 else like[0]


def _doubled(x: Any) -> Any:
    return x * 2, lambda *args, upstream: upstream * 3
