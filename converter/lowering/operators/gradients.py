"""Arithmetic on shapes that gradients inside a model bring with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converter.lowering.builder import Builder
from converter.lowering.operators.base import UnsupportedLowering


def broadcast_args(build: Builder, node: Any) -> Sequence[str]:
    """BroadcastArgs: the shape that two shapes broadcast to."""
    first, second = _of_one_rank(build, node)
    one = build.constant(1, build.numpy_type(first))
    return [build.op("Where", build.op("Equal", first, one), second, first)]


def broadcast_gradient_args(build: Builder, node: Any) -> Sequence[str]:
    """BroadcastGradientArgs: the axes along which each of two shapes was stretched."""
    first, second = _of_one_rank(build, node)
    return [_stretched(build, first, second), _stretched(build, second, first)]


def _stretched(build: Builder, shape: str, other: str) -> str:
    one = build.constant(1, build.numpy_type(shape))
    axes = build.op("And", build.op("Equal", shape, one), build.op("Greater", other, one))
    places = build.squeeze(build.op("NonZero", axes), 0)
    return build.op("Cast", places, to=build.dtype(shape))


def _of_one_rank(build: Builder, node: Any) -> tuple[str, str]:
    """Both shapes, the shorter one with ones before it."""
    ranks = [(build.shape(tensor) or [-1])[0] for tensor in node.input]
    if min(ranks) < 0:
        raise UnsupportedLowering(node, "the rank of its inputs is only known at run time")
    longer = max(ranks)
    filled = [
        tensor
        if rank == longer
        else build.op(
            "Concat",
            build.constant([1] * (longer - rank), build.numpy_type(tensor)),
            tensor,
            axis=0,
        )
        for tensor, rank in zip(node.input, ranks, strict=True)
    ]
    return filled[0], filled[1]
