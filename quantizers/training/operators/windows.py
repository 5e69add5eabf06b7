"""Strides, dilations and padding of convolutions and pools, as numbers per spatial axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from quantizers.training.operators.base import Call


@dataclass(frozen=True)
class Window:
    """How a window of ``kernel`` moves over the spatial axes.

    ``pads``: before and behind each: numbers, or scalar tensors where a size is not known.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[Any, Any], ...]

    @property
    def is_padded(self) -> bool:
        """Whether anything is added at an edge."""
        return not self.has_known_pads or any(any(pair) for pair in self.pads)

    @property
    def is_point(self) -> bool:
        """Whether it covers one place at a time, and all of them."""
        return not self.is_padded and {*self.kernel, *self.strides} == {1}

    @property
    def has_known_pads(self) -> bool:
        """Whether what is added is known before the graph runs."""
        return all(isinstance(size, int) for pair in self.pads for size in pair)

    @property
    def extent(self) -> tuple[int, ...]:
        """The places that the window covers, holes included."""
        pairs = zip(self.kernel, self.dilations, strict=True)
        return tuple((size - 1) * dilation + 1 for size, dilation in pairs)

    def is_same(self, spatial: Sequence[Any]) -> bool:
        """Whether the padding is known to be what SAME adds to an input of these sizes."""
        same = _same(self, spatial, "SAME_UPPER")
        known = all(isinstance(size, int) for pair in same for size in pair)
        return known and self.has_known_pads and same == self.pads

    def part(self, axes: slice) -> Window:
        """The window over some of the axes."""
        return Window(self.kernel[axes], self.strides[axes], self.dilations[axes], self.pads[axes])


def window_of(call: Call, kernel: Sequence[int], spatial: Sequence[Any] | None = None) -> Window:
    """The window of a node whose input has these ``spatial`` sizes.

    Without any, ``auto_pad`` is left to who asks.
    """
    count = len(kernel)
    strides = tuple(call.attribute("strides") or [1] * count)
    dilations = tuple(call.attribute("dilations") or [1] * count)
    given = call.attribute("pads") or [0] * 2 * count
    pads = tuple(zip(given[:count], given[count:], strict=True))
    window = Window(tuple(kernel), strides, dilations, pads)
    how = call.attribute("auto_pad", "NOTSET")
    if spatial is not None and how in {"SAME_UPPER", "SAME_LOWER"}:
        return Window(window.kernel, strides, dilations, _same(window, spatial, how))
    return window


def _same(window: Window, spatial: Sequence[Any], how: str) -> tuple[tuple[Any, Any], ...]:
    """The padding that leaves ceil(size / stride) places."""
    pads = []
    for size, extent, stride in zip(spatial, window.extent, window.strides, strict=True):
        if stride == 1:
            total: Any = extent - 1
        else:
            total = at_least_0(extent - stride + (-size % stride))  # what the last stride lacks
        small = total // 2
        pads.append((small, total - small) if how == "SAME_UPPER" else (total - small, small))
    return tuple(pads)


def at_least_0(number: Any) -> Any:
    """A number or a scalar tensor, or 0 where it is below."""
    import tensorflow as tf

    return max(number, 0) if isinstance(number, int) else tf.maximum(number, 0)
