"""Operators without an INT8 kernel that pays, of which something else is known."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from quantizers.policy.operators.base import Factors, Operator
from runtimes.onnx_graph.values import constant, is_constant
from runtimes.targets import Storage


class _Float(Operator):
    kind = "float"


class _Recurrent(_Float):
    """Weights and recurrent weights ``[directions, gates · hidden, inputs]``."""

    def storage(self, node: ir.Node) -> Storage | None:
        arrays = [constant(node.inputs[index]) for index in (1, 2)]
        fit = all(a is not None and a.dtype == np.float32 and a.ndim == 3 for a in arrays)
        return "rows" if fit else None


class LSTM(_Recurrent):
    """ONNX Runtime has a kernel that rounds its inputs as they come."""

    def storage(self, node: ir.Node) -> Storage | None:
        found = super().storage(node)
        plain = node.attributes.get_int("layout", 0) == 0
        return "dynamic" if found is not None and plain else found


class GRU(_Recurrent):
    """No such kernel."""


class RNN(_Recurrent):
    """No such kernel."""


class PRelu(_Float):
    """A slope a channel; ``EqualSlopesToLeakyRelu`` knows one slope for all."""

    def factors(self, node: ir.Node) -> Factors | None:
        return "elementwise" if is_constant(node.inputs[1]) else None


class Identity(_Float):
    """Nothing."""

    def factors(self, node: ir.Node) -> Factors | None:
        return "elementwise"


class GlobalMaxPool(_Float):
    """The maximum of all pixels."""

    def factors(self, node: ir.Node) -> Factors | None:
        return "images" if len(node.outputs) == 1 else None


class LayerNormalization(_Float):
    """Has a scale and an offset of its own, which factors go into."""

    def factors(self, node: ir.Node) -> Factors | None:
        return "normalization"


OPERATORS = (LSTM(), GRU(), RNN(), PRelu(), Identity(), GlobalMaxPool(), LayerNormalization())
