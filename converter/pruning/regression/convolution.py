"""Conv, and ConvTranspose as the Conv of its spread input by the mirrored kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from converter.pruning.operators.channels import IntArray
from converter.pruning.regression.base import LinearLayer, is_own_weight, name_of, overwrite, read
from converter.pruning.regression.dense import add_bias
from converter.pruning.regression.normal_equations import Float64
from runtimes.base import Array
from runtimes.onnx_graph.values import constant, is_op
from runtimes.onnx_graph.windows import places_of, rows_of, windows


@dataclass(frozen=True)
class _Window:
    """How patches lie: in the input with ``spread − 1`` zeros between its elements."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    spread: tuple[int, ...]

    def places(self, sizes: Sequence[int]) -> list[int]:
        """Number of patches along each axis of an input."""
        padded = [
            (size - 1) * spread + 1 + before + after
            for size, spread, before, after in zip(
                sizes, self.spread, self.before, self.after, strict=True
            )
        ]
        return places_of(padded, self.kernel, self.strides, self.dilations)

    def patches(self, data: Array) -> Array:
        """A view of the patches, ``[samples, channels, *places, *kernel]``."""
        spread = data
        if any(step != 1 for step in self.spread):
            wide = [(n - 1) * step + 1 for n, step in zip(data.shape[2:], self.spread, strict=True)]
            spread = np.zeros((*data.shape[:2], *wide), data.dtype)
            every: Any = (..., *(slice(None, None, step) for step in self.spread))
            spread[every] = data
        pads = [(0, 0), (0, 0), *zip(self.before, self.after, strict=True)]
        return windows(np.pad(spread, pads), self.kernel, self.strides, self.dilations)


class _Convolution:
    weight = 1
    takes_bias = True
    from_reference = False
    result_axis = 1

    def __init__(self, node: ir.Node, window: _Window) -> None:
        self.node = node
        self.source = name_of(node.inputs[0])
        self.result: str | None = name_of(node.outputs[0])
        self.fan = math.prod(window.kernel)
        self._window = window
        self._groups = node.attributes.get_int("group", 1)
        self._transposed = is_op(node, "ConvTranspose")
        self.columns_axis, self.outputs_axis = (0, 1) if self._transposed else (1, 0)

    def count_rows(self, data: Array) -> int:
        return len(data) * math.prod(self._window.places(data.shape[2:]))

    def rows(self, data: Array, chosen: IntArray) -> Array:
        return rows_of(self._window.patches(data), chosen, self._groups, data.ndim - 2)

    def targets(self, result: Array, chosen: IntArray) -> Array:
        return rows_of(result, chosen, self._groups, result.ndim - 2)

    def weights(self) -> Float64:
        array = read(self.node.inputs[1])
        if self._transposed:  # [inputs, outputs / groups, kernel…], mirrored
            array = np.flip(array, tuple(range(2, array.ndim)))
            by_group = array.reshape(self._groups, -1, *array.shape[1:])
            return np.moveaxis(by_group, 2, -1).reshape(self._groups, -1, array.shape[1])
        return array.reshape(self._groups, -1, array[0].size).transpose(0, 2, 1)

    def bias(self) -> Float64:
        value = self.node.inputs[2] if len(self.node.inputs) > 2 else None
        if value is None:
            return np.zeros((self._groups, self.weights().shape[2]))
        return read(value).reshape(self._groups, -1)

    def write(self, weights: Float64, bias: Float64 | None) -> None:
        value = self.node.inputs[1]
        shape = read(value).shape
        if self._transposed:
            by_group = weights.reshape(self._groups, -1, *shape[2:], shape[1])
            array = np.moveaxis(by_group, -1, 2).reshape(shape)
            overwrite(value, np.flip(array, tuple(range(2, array.ndim))))
        else:
            overwrite(value, weights.transpose(0, 2, 1).reshape(shape))
        if bias is None:
            return
        if len(self.node.inputs) > 2 and self.node.inputs[2] is not None:
            overwrite(self.node.inputs[2], bias.reshape(-1))
        else:
            add_bias(self.node, bias.reshape(-1))


def convolution(node: ir.Node) -> Sequence[LinearLayer]:
    """The layer that a Conv or ConvTranspose is, if it can be refitted."""
    weight = constant(node.inputs[1])
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if weight is None or weight.ndim < 3 or not is_own_weight(node.inputs[1]):
        return ()
    if bias is not None and not is_own_weight(bias):
        return ()
    window = _window(node, weight.shape[2:])
    return () if window is None else (_Convolution(node, window),)


def _window(node: ir.Node, kernel: tuple[int, ...]) -> _Window | None:
    """How the patches of ``node`` lie; ``None`` where that depends on the input's size."""
    rank = len(kernel)
    ones = (1,) * rank
    strides = tuple(node.attributes.get_ints("strides", ones))
    dilations = tuple(node.attributes.get_ints("dilations", ones))
    pads = tuple(node.attributes.get_ints("pads", (0,) * 2 * rank))
    if node.attributes.get_string("auto_pad", "NOTSET") not in {"NOTSET", "VALID"}:
        return None
    if is_op(node, "Conv"):
        return _Window(kernel, strides, dilations, pads[:rank], pads[rank:], ones)
    if "output_shape" in node.attributes:
        return None
    more = tuple(node.attributes.get_ints("output_padding", (0,) * rank))
    reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    before = tuple(r - pad for r, pad in zip(reach, pads[:rank], strict=True))
    after = tuple(r - pad + m for r, pad, m in zip(reach, pads[rank:], more, strict=True))
    if min(*before, *after) < 0:
        return None
    return _Window(kernel, ones, dilations, before, after, strides)
