"""A convolution's kernel, strides and pads in numbers, with the size of the map that it reads."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir


@dataclass(frozen=True)
class Window:
    """What a Conv node slides over its map, axis by axis.

    ``pads``: before and after the map. ``map``: its sizes, None where they are not recorded.
    ``is_depthwise``: one filter for each channel.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    map: tuple[int | None, ...]
    is_depthwise: bool

    def places(self, axis: int) -> range:
        """Where on the map the first tap of each output is; outside where it is on padding."""
        before, after = self.pads[axis]
        reach = (self.kernel[axis] - 1) * self.dilations[axis]
        return range(-before, (self.map[axis] or 0) + after - reach, self.strides[axis])


def window_of(node: ir.Node) -> Window | None:
    """The window of a Conv node; None where its weights' shape is unknown, or its pads are named.

    ``auto_pad`` other than NOTSET and VALID leaves the pads to the engine.
    """
    weights = node.inputs[1] if len(node.inputs) > 1 else None
    shape = _sizes(weights)
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    if len(shape) < 3 or None in shape or mode not in ("NOTSET", "VALID"):
        return None
    kernel = tuple(int(size or 0) for size in shape[2:])
    axes = len(kernel)
    groups = node.attributes.get_int("group", 1)
    pads = [0] * (2 * axes)
    if mode == "NOTSET":
        pads = list(node.attributes.get_ints("pads", pads))
    source = _sizes(node.inputs[0])[2:]
    return Window(
        kernel,
        tuple(node.attributes.get_ints("strides", [1] * axes)),
        tuple(node.attributes.get_ints("dilations", [1] * axes)),
        tuple(zip(pads[:axes], pads[axes:], strict=True)),
        source if len(source) == axes else (None,) * axes,
        groups > 1 and shape[0] == groups and shape[1] == 1,
    )


def _sizes(value: ir.Value | None) -> tuple[int | None, ...]:
    if value is None:
        return ()
    if value.const_value is not None:
        return tuple(value.const_value.shape.numpy())
    return tuple(dim if isinstance(dim, int) else None for dim in value.shape or ())
