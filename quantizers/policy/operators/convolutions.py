"""Convolutions in INT8."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from quantizers.policy.operators.base import Operator, refuse_bias, refuse_weight
from runtimes.base import Array
from runtimes.onnx_graph.windows import rows_of, windows


class Conv(Operator):
    """``[N, C, …]`` with weights ``[outputs, inputs / groups, *kernel]``."""

    kind = "compute"
    weight = 1
    bias = 2
    kernels = frozenset({"QLinearConv"})
    fuses_activation = True
    channel_axis = 1
    ends_preactivation = True

    def refuse(self, node: ir.Node) -> str | None:
        return refuse_weight(node, 1) or refuse_bias(node, 2)

    def weight_axis(self, node: ir.Node) -> int | None:
        return 0

    def groups(self, node: ir.Node) -> int:
        return node.attributes.get_int("group", 1)

    def pads_with_zeros(self, node: ir.Node) -> bool:
        return _rule(node) not in ("NOTSET", "VALID") or any(node.attributes.get_ints("pads", ()))

    def kernel_inputs(self, node: ir.Node, weight: Array) -> int | None:
        plain = _rule(node) in ("NOTSET", "VALID")
        return math.prod(weight.shape[1:]) if plain and weight.ndim in (3, 4) else None

    def kernel_rows(
        self, node: ir.Node, weight: Array, batch: Array, step: Callable[[int], int]
    ) -> Array:
        kernel = weight.shape[2:]
        taps = len(kernel)
        pads = list(node.attributes.get_ints("pads", [0] * (2 * taps)))
        if _rule(node) == "VALID":
            pads = [0] * (2 * taps)
        strides = node.attributes.get_ints("strides", [1] * taps)
        dilations = node.attributes.get_ints("dilations", [1] * taps)
        around = [(0, 0), (0, 0), *zip(pads[:taps], pads[taps:], strict=True)]
        padded = np.pad(batch, around) if any(pads) else batch
        views = windows(padded, kernel, strides, dilations)
        total = len(views) * math.prod(views.shape[2 : 2 + taps])
        chosen = np.arange(0, total, step(total))
        return np.ascontiguousarray(rows_of(views, chosen, self.groups(node), taps))

    def kernel_order(self, node: ir.Node, weight: Array) -> Array | None:
        # A depthwise kernel widens before it multiplies; others run channels last, taps before
        # channels.
        if weight.shape[1] == 1 and self.groups(node) > 1:
            return None
        return np.moveaxis(weight, 1, -1).reshape(len(weight), -1)


def _rule(node: ir.Node) -> str:
    return node.attributes.get_string("auto_pad", "NOTSET")


OPERATORS = (Conv(),)
