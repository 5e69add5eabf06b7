"""Operators whose INT8 kernel pays only between others that are INT8 anyway."""

from __future__ import annotations

import onnx_ir as ir

from quantizers.policy.operators.base import Factors, Operator, refuse_constant_operand


class _Arithmetic(Operator):
    kind = "arithmetic"
    fuses_activation = True


class Add(_Arithmetic):
    """A residual sum, say."""

    data = None
    sums = True
    kernels = frozenset({"QLinearAdd"})

    def refuse(self, node: ir.Node) -> str | None:
        return refuse_constant_operand(node)

    def factors(self, node: ir.Node) -> Factors | None:
        return "sum"


class Mul(_Arithmetic):
    """A gate, say."""

    data = None
    kernels = frozenset({"QLinearMul"})

    def refuse(self, node: ir.Node) -> str | None:
        return refuse_constant_operand(node)


class AveragePool(_Arithmetic):
    """Means over windows."""

    kernels = frozenset({"QLinearAveragePool"})
    ends_preactivation = True

    def refuse(self, node: ir.Node) -> str | None:
        # ORT's QLinearAveragePool lacks dilations, and reads auto_pad in its own way.
        if any(d != 1 for d in node.attributes.get_ints("dilations", ())):
            return "ONNX Runtime's INT8 average pooling has no dilation"
        return None

    def factors(self, node: ir.Node) -> Factors | None:
        return "images"


class GlobalAveragePool(_Arithmetic):
    """Means over all pixels."""

    kernels = frozenset({"QLinearGlobalAveragePool"})
    ends_preactivation = True

    def factors(self, node: ir.Node) -> Factors | None:
        return "images"


class LeakyRelu(_Arithmetic):
    """A table of 256 bytes.

    Between DequantizeLinear and QuantizeLinear it would cost more than the convolutions around it
    gain.
    """

    kernels = frozenset({"QLinearLeakyRelu"})

    def factors(self, node: ir.Node) -> Factors | None:
        return "elementwise"


class Sigmoid(_Arithmetic):
    """A table of 256 bytes; with the Mul behind it, a swish."""

    kernels = frozenset({"QLinearSigmoid"})


class Concat(_Arithmetic):
    """Copies bytes where its inputs are on the grid of its output."""

    data = None
    kernels = frozenset({"QLinearConcat"})
    shared_grid = True
    ends_preactivation = True

    def refuse(self, node: ir.Node) -> str | None:
        return refuse_constant_operand(node)


OPERATORS = (
    *(Add(), Mul(), AveragePool(), GlobalAveragePool(), LeakyRelu(), Sigmoid()),
    Concat(),
)
