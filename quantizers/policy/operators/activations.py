"""Activations that become part of the operator before them, if the edges of a grid clip alike."""

from __future__ import annotations

import math

import onnx_ir as ir

from quantizers.policy.operators.base import Factors, Operator
from runtimes.onnx_graph.values import constant


class Relu(Operator):
    """Cuts at zero."""

    kind = "activation"

    def bounds(self, node: ir.Node) -> tuple[float, float] | None:
        return 0.0, math.inf

    def factors(self, node: ir.Node) -> Factors | None:
        return "elementwise"


class Clip(Operator):
    """Cuts at bounds that are inputs."""

    kind = "activation"

    def bounds(self, node: ir.Node) -> tuple[float, float] | None:
        low, high = _bound(node, 1, -math.inf), _bound(node, 2, math.inf)
        return None if low is None or high is None else (low, high)


def _bound(node: ir.Node, index: int, absent: float) -> float | None:
    value = node.inputs[index] if len(node.inputs) > index else None
    if value is None:
        return absent
    array = constant(value)
    return None if array is None or array.size != 1 else float(array.reshape(()))


OPERATORS = (Relu(), Clip())
