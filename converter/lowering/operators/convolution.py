"""Convolutions that tf2onnx writes wrongly: transposed ones, and grouped ones in 3-D.

ONNX is channels first: layouts are as in https://onnx.ai/onnx/operators/onnx__ConvTranspose.html.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from converter.lowering.builder import Builder


@dataclass(frozen=True)
class Window:
    """One spatial axis: sizes of the two sides (-1 where dynamic) and how the kernel moves."""

    small: int
    large: int
    stride: int
    dilation: int
    kernel: int

    @property
    def extent(self) -> int:
        """How many elements the dilated kernel covers."""
        return (self.kernel - 1) * self.dilation + 1


def transposed(build: Builder, node: Any) -> Sequence[str]:
    """The gradient of a convolution as ConvTranspose.

    TensorFlow gives the size of the output, ONNX what is cut off or added at the ends. Inputs
    of the operator: output sizes, kernel of shape (..., out, in), the tensor, perhaps a bias.
    """
    sizes, kernel, x, *bias = node.input
    layout = _Layout(node)
    windows = layout.windows(build, node, small=x, large=node.output[0], kernel=kernel)
    same = _text(node, "padding") == "SAME"
    pads: list[tuple[int, int] | None] = []
    for axis, window, explicit in zip(
        range(layout.first, layout.first + layout.spatial),
        windows,
        layout.paddings(node),
        strict=True,
    ):
        tied = None if explicit else _affine(build, node.inputs[0], axis)
        cut = pads_of_transposed(window, same, tied)
        pads.append((explicit[0], sum(cut) - explicit[0]) if explicit and cut else cut)
    attributes: dict[str, Any] = {
        "strides": [window.stride for window in windows],
        "dilations": [window.dilation for window in windows],
    }
    known = [pad for pad in pads if pad is not None]
    if known == pads:
        attributes["pads"] = [max(p[0], 0) for p in known] + [max(p[1], 0) for p in known]
        attributes["output_padding"] = [max(-p[1], 0) for p in known]
    rank = layout.spatial + 2
    # ONNX wants (in, out, ...); TensorFlow has (..., out, in).
    weights = build.op("Transpose", kernel, perm=[rank - 1, rank - 2, *range(rank - 2)])
    out = build.op("ConvTranspose", layout.to_first(build, x), weights, *bias, **attributes)
    if known != pads:
        out = _resized(build, out, sizes, layout, same=same)
    return [layout.from_first(build, out)]


def grouped_3d(build: Builder, node: Any) -> Sequence[str]:
    """Conv3D; tf2onnx leaves its groups out."""
    x, kernel, *bias = node.input
    layout = _Layout(node)
    windows = layout.windows(build, node, small=node.output[0], large=x, kernel=kernel)
    attributes: dict[str, Any] = {
        "strides": [window.stride for window in windows],
        "dilations": [window.dilation for window in windows],
    }
    if _text(node, "padding") == "SAME":
        pads = [_same_pads(window) for window in windows]
        known = [pad for pad in pads if pad is not None]
        if known == pads:
            attributes["pads"] = [pad[0] for pad in known] + [pad[1] for pad in known]
        else:
            attributes["auto_pad"] = "SAME_UPPER"
    elif _text(node, "padding") == "EXPLICIT":
        explicit = layout.paddings(node)
        attributes["pads"] = [p[0] for p in explicit if p] + [p[1] for p in explicit if p]
    shape, kernel_shape = build.shape(x), build.shape(kernel)
    if shape and kernel_shape and shape[layout.channels] > 0:
        attributes["group"] = shape[layout.channels] // kernel_shape[-2]
    rank = layout.spatial + 2
    weights = build.op("Transpose", kernel, perm=[rank - 1, rank - 2, *range(rank - 2)])
    out = build.op("Conv", layout.to_first(build, x), weights, *bias, **attributes)
    return [layout.from_first(build, out)]


class _Layout:
    """Where the channels of a convolution's tensors are."""

    def __init__(self, node: Any) -> None:
        self.channels_last = not _text(node, "data_format").startswith("NC")
        self.spatial = len(node.get_attr_value("strides")) - 2
        self.first = 1 if self.channels_last else 2
        self.channels = self.spatial + 1 if self.channels_last else 1

    def spatial_part(self, values: Sequence[int]) -> list[int]:
        return list(values[self.first : self.first + self.spatial])

    def windows(
        self, build: Builder, node: Any, *, small: str, large: str, kernel: str
    ) -> list[Window]:
        unknown = [-1] * (self.spatial + 2)
        sides = [self.spatial_part(build.shape(t) or unknown) for t in (small, large)]
        strides = self.spatial_part(node.get_attr_value("strides"))
        dilations = self.spatial_part(node.get_attr_value("dilations") or [1] * len(unknown))
        kernels = (build.shape(kernel) or unknown)[: self.spatial]
        return [Window(*each) for each in zip(*sides, strides, dilations, kernels, strict=True)]

    def paddings(self, node: Any) -> list[tuple[int, int] | None]:
        """Explicit paddings of the spatial axes, None where TensorFlow chooses them."""
        if _text(node, "padding") != "EXPLICIT":
            return [None] * self.spatial
        flat = node.get_attr_value("explicit_paddings")
        pairs = list(zip(flat[0::2], flat[1::2], strict=True))
        return list(pairs[self.first : self.first + self.spatial])

    def to_first(self, build: Builder, tensor: str) -> str:
        if not self.channels_last:
            return tensor
        return build.op(
            "Transpose", tensor, perm=[0, self.spatial + 1, *range(1, self.spatial + 1)]
        )

    def from_first(self, build: Builder, tensor: str) -> str:
        if not self.channels_last:
            return tensor
        return build.op("Transpose", tensor, perm=[0, *range(2, self.spatial + 2), 1])


def pads_of_transposed(
    window: Window, same: bool, tied: tuple[int, int] | None
) -> tuple[int, int] | None:
    """What is cut off the full output at begin and end; less than nothing is added.

    ``tied``: ``(a, b)`` where a dynamic size of the output is ``a * n + b``. None where nothing
    can be known of it. ``same`` is TensorFlow's padding SAME, which cuts at both ends.
    """
    if window.small > 0 and window.large > 0:
        total = (window.small - 1) * window.stride + window.extent - window.large
    elif tied is not None and tied[0] == window.stride:
        # TensorFlow asks that the small side be what a convolution makes of the large one,
        # which ties them: small = n + ceil(rest / stride) for large = stride * n + offset.
        offset = tied[1]
        rest = offset if same else offset - window.extent + 1
        total = (math.ceil(rest / window.stride) - 1) * window.stride + window.extent - offset
    else:
        return None
    begin = max(total, 0) // 2 if same else 0
    return begin, total - begin


def _same_pads(window: Window) -> tuple[int, int] | None:
    if window.small < 0 or window.large < 0:
        # Without strides the padding does not depend on the size.
        total = window.extent - 1 if window.stride == 1 else None
    else:
        total = max((window.small - 1) * window.stride + window.extent - window.large, 0)
    return None if total is None else (total // 2, total - total // 2)


def _affine(build: Builder, node: Any, index: int) -> tuple[int, int]:
    """``(a, b)`` if entry ``index`` of a vector of sizes is ``a * n + b`` with a dynamic ``n``.

    A number is a vector of one entry. ``(1, 0)`` for what cannot be looked into.
    """
    if node.is_const():
        return 0, int(node.get_tensor_value(as_list=False).reshape(-1)[index])
    if node.type in ("Add", "AddV2", "Sub", "Mul"):
        (a, b), (c, d) = (_affine(build, operand, index) for operand in node.inputs)
        if node.type != "Mul":
            return (a + c, b + d) if node.type != "Sub" else (a - c, b - d)
        return (a * d + c * b, b * d) if not (a and c) else (1, 0)
    source = _source_of_entry(build, node, index)
    return (1, 0) if source is None else _affine(build, *source)


def _source_of_entry(build: Builder, node: Any, index: int) -> tuple[Any, int] | None:
    """The operand, and the entry of it, that entry ``index`` of ``node`` is taken from."""
    if node.type in ("Cast", "Identity", "Unsqueeze", "Squeeze"):
        return node.inputs[0], index
    if node.type in ("Pack", "Concat"):
        for tensor, part in zip(node.input, node.inputs, strict=True):
            shape = build.shape(tensor)
            if shape is None or shape[:1] == [-1]:
                return None
            length = shape[0] if shape else 1
            if index < length:
                return part, index
            index -= length
    if node.type == "Slice" and node.inputs[1].is_const():
        starts = node.inputs[1].get_tensor_value(as_list=False).reshape(-1)
        steps = node.inputs[4].get_tensor_value() if len(node.input) > 4 else [1]
        if len(starts) == 1 and starts[0] >= 0 and steps == [1]:
            return node.inputs[0], index + int(starts[0])
    return None


def _resized(build: Builder, out: str, sizes: str, layout: _Layout, *, same: bool) -> str:
    """Cut or fill the full output of dynamic size, channels first, to the sizes asked for."""
    count = layout.spatial
    axes = build.constant(range(2, 2 + count))
    zeros = build.constant([0] * count)
    wanted = build.op(
        "Slice",
        build.op("Cast", sizes, to=7),
        build.constant([layout.first]),
        build.constant([layout.first + count]),
    )
    got = build.op(
        "Slice", build.op("Shape", out), build.constant([2]), build.constant([2 + count])
    )
    more = build.op("Max", build.op("Sub", got, wanted), zeros)
    begin = build.op("Div", more, build.constant([2] * count)) if same else zeros
    out = build.op("Slice", out, begin, build.op("Add", begin, wanted), axes)
    less = build.op("Max", build.op("Sub", wanted, got), zeros)
    before = build.constant([0] * (2 + count + 2))
    return build.op("Pad", out, build.op("Concat", before, less, axis=0))


def _text(node: Any, attribute: str) -> str:
    value = node.get_attr_value(attribute) or b""
    return value.decode() if isinstance(value, bytes) else str(value)
