"""Reductions over axes, which an attribute or an input names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from quantizers.training.operators.base import Call, Operator
from quantizers.training.tensors import Tensor


def reduction(compute: Callable[[Any, list[int] | None, bool], Any]) -> Operator:
    """The operator that is ``compute(x, axes, keepdims)``; no axes are all of them."""

    def operator(call: Call) -> Sequence[Tensor]:
        x = call[0]
        axes = _axes(call, x)
        if axes == [] and call.attribute("noop_with_empty_axes", 0):
            return [x]
        axes = axes or list(range(x.rank))
        keep = bool(call.attribute("keepdims", 1))
        if x.channels_last and not keep and not _leaves_order(axes, x.rank):
            x = Tensor(x.first)
        places = sorted(x.axis(axis) for axis in axes)
        found = compute(x.data, places, keep)
        return [Tensor(found, x.channels_last and keep)]

    return operator


def _axes(call: Call, x: Tensor) -> list[int]:
    if call.optional(1) is not None:
        given = call.integers(1, "axes")
    else:
        given = list(call.attribute("axes") or [])
    return [axis % x.rank for axis in given]


def _leaves_order(axes: Sequence[int], rank: int) -> bool:
    """Whether what is left of [N, C, spatial...] stands in the same order with channels last."""
    spatial_left = [axis for axis in range(2, rank) if axis not in axes]
    return 1 in axes or not spatial_left


def arg(name: str) -> Operator:
    """The operator that is the place of the largest or smallest value along an axis."""

    def operator(call: Call) -> Sequence[Tensor]:
        import tensorflow as tf

        x, axis = call.first(0), call.attribute("axis", 0)
        if call.attribute("select_last_index", 0):
            size = tf.shape(x, tf.int64)[axis]
            data = size - 1 - getattr(tf, name)(tf.reverse(x, [axis % len(x.shape)]), axis)
        else:
            data = getattr(tf, name)(x, axis)
        return [Tensor(tf.expand_dims(data, axis) if call.attribute("keepdims", 1) else data)]

    return operator


def _named(name: str) -> Callable[[Any, list[int] | None, bool], Any]:
    def compute(x: Any, axes: list[int] | None, keep: bool) -> Any:
        import tensorflow as tf

        return getattr(tf, name)(x, axes, keepdims=keep)

    return compute


def _l1(x: Any, axes: list[int] | None, keep: bool) -> Any:
    import tensorflow as tf

    return tf.reduce_sum(tf.abs(x), axes, keepdims=keep)


def _l2(x: Any, axes: list[int] | None, keep: bool) -> Any:
    import tensorflow as tf

    return tf.sqrt(tf.reduce_sum(x * x, axes, keepdims=keep))


def _sum_square(x: Any, axes: list[int] | None, keep: bool) -> Any:
    import tensorflow as tf

    return tf.reduce_sum(x * x, axes, keepdims=keep)


def _log_sum(x: Any, axes: list[int] | None, keep: bool) -> Any:
    import tensorflow as tf

    return tf.math.log(tf.reduce_sum(x, axes, keepdims=keep))


OPERATORS: dict[str, Operator] = {
    "ArgMax": arg("argmax"),
    "ArgMin": arg("argmin"),
    "ReduceL1": reduction(_l1),
    "ReduceL2": reduction(_l2),
    "ReduceLogSum": reduction(_log_sum),
    "ReduceLogSumExp": reduction(_named("reduce_logsumexp")),
    "ReduceMax": reduction(_named("reduce_max")),
    "ReduceMean": reduction(_named("reduce_mean")),
    "ReduceMin": reduction(_named("reduce_min")),
    "ReduceProd": reduction(_named("reduce_prod")),
    "ReduceSum": reduction(_named("reduce_sum")),
    "ReduceSumSquare": reduction(_sum_square),
}
