"""Windows that slide over images (batch, height, width, channels): one strided slice a place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converter.lowering.builder import Builder


def extract_patches(build: Builder, node: Any) -> Sequence[str]:
    """ExtractImagePatches: the pixels of each window as channels, zeros outside."""
    sizes = node.get_attr_value("ksizes")[1:3]
    windows = _windows(build, node, sizes, outside=0)
    return [build.op("Concat", *(part for _, part in windows), axis=3)]


def dilate(build: Builder, node: Any) -> Sequence[str]:
    """Dilation2D: the largest sum of window and filter; what is outside is never the largest."""
    weights = node.input[1]
    sizes = (build.shape(weights) or [1, 1])[:2]
    largest = ""
    for (y, x), part in _windows(build, node, sizes, outside=-np.inf):
        row = build.op("Gather", weights, build.constant(y), axis=0)
        total = build.op("Add", part, build.op("Gather", row, build.constant(x), axis=0))
        largest = build.op("Max", largest, total) if largest else total
    return [largest]


@dataclass(frozen=True)
class _Axis:
    """One axis of a window: its size, its stride, and how far apart its pixels are."""

    size: int
    stride: int
    rate: int

    @property
    def reach(self) -> int:
        return (self.size - 1) * self.rate + 1

    def padding(self, build: Builder, length: str) -> tuple[str, str]:
        """What is missing before and after, one number each, for a window at every stride."""
        zero = build.constant([0])
        steps = build.op("Div", build.op("Sub", length, build.constant([1])), self._stride(build))
        end = build.op("Mul", steps, self._stride(build))
        needed = build.op("Add", end, build.constant([self.reach]))
        total = build.op("Max", build.op("Sub", needed, length), zero)
        before = build.op("Div", total, build.constant([2]))
        return before, build.op("Sub", total, before)

    def end(self, build: Builder, length: str, begin: int) -> str:
        """Where the last window's pixel ends that the first window has at ``begin``."""
        fits = build.op("Sub", length, build.constant([self.reach]))
        last = build.op("Mul", build.op("Div", fits, self._stride(build)), self._stride(build))
        return build.op("Add", last, build.constant([begin + 1]))

    def _stride(self, build: Builder) -> str:
        return build.constant([self.stride])


def _windows(
    build: Builder, node: Any, sizes: Sequence[int], *, outside: float
) -> Iterator[tuple[tuple[int, int], str]]:
    """For each place in the window, what all windows have there."""
    strides, rates = (node.get_attr_value(name)[1:3] for name in ("strides", "rates"))
    axes = [_Axis(*map(int, each)) for each in zip(sizes, strides, rates, strict=True)]
    x = node.input[0]
    if node.get_attr_value("padding") == b"SAME":
        ends = [axis.padding(build, _length(build, x, i)) for i, axis in enumerate(axes, 1)]
        zero = build.constant([0])
        before, after = ([pair[k] for pair in ends] for k in (0, 1))
        pads = build.op("Concat", zero, *before, zero, zero, *after, zero, axis=0)
        x = build.op("Pad", x, pads, build.scalar(outside, like=x))
    lengths = [build.sizes(x, i, i + 1) for i in (1, 2)]
    steps = build.constant([axis.stride for axis in axes])
    for place in np.ndindex(axes[0].size, axes[1].size):
        begins = [int(at) * axis.rate for at, axis in zip(place, axes, strict=True)]
        stops = [
            axis.end(build, length, begin)
            for axis, length, begin in zip(axes, lengths, begins, strict=True)
        ]
        end = build.op("Concat", *stops, axis=0)
        part = build.op("Slice", x, build.constant(begins), end, build.constant([1, 2]), steps)
        yield (int(place[0]), int(place[1])), part


def _length(build: Builder, x: str, axis: int) -> str:
    known = (build.shape(x) or [-1] * 4)[axis]
    return build.constant([known]) if known > 0 else build.sizes(x, axis, axis + 1)
