"""Rolling by a number of places that is only known at run time."""

from __future__ import annotations

from typing import Any

from converter.lowering.builder import Builder

_INT64 = 7


def roll(build: Builder, node: Any) -> Any:
    """Roll along constant axes: what leaves at one end comes in at the other."""
    x, shifts, _ = node.input
    axes = node.inputs[2]
    if node.inputs[1].is_const() or not axes.is_const() or build.shape(x) is None:
        return NotImplemented
    rank = len(build.shape(x) or ())
    shifts = build.reshape(build.op("Cast", shifts, to=_INT64), [-1])
    for i, axis in enumerate(axes.get_tensor_value(as_list=False).reshape(-1)):
        place = int(axis) % rank
        size = build.squeeze(build.sizes(x, place, place + 1), 0)
        shift = build.op("Gather", shifts, build.constant(i), axis=0)
        counted = build.op("Range", build.constant(0), size, build.constant(1))
        index = build.op("Mod", build.op("Sub", counted, shift), size)
        x = build.op("Gather", x, index, axis=place)
    return [x]
