"""What is known of an operator in INT8, stated once: a class an operator.

NNCF calls such a class a metatype. Its facts are what ONNX Runtime's Q/DQ selectors accept, found
out by opening the graph that it optimized (``fusion.py`` does so again for every model). An
operator without a class stays in float. The kinds:

- *compute*: the reason to quantize at all. Takes an INT8 activation and constant weights.
- *arithmetic*: has an INT8 kernel that only pays between operators that are INT8 anyway.
- *movement*: moves or picks values without changing them. Its output lies on the grid of
  its input, so it costs no accuracy.
- *activation*: follows a compute or arithmetic operator and is part of it. Only bounds that
  the edge of the output's grid can express; ONNX Runtime then drops it.
- *float*: has no INT8 kernel that pays, but something else of it is known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import onnx_ir as ir

from runtimes.base import Array
from runtimes.onnx_graph.values import is_constant
from runtimes.targets import Storage

Kind = Literal["compute", "arithmetic", "movement", "activation", "float"]

Factors = Literal["elementwise", "images", "sum", "flatten", "normalization"]
"""How a positive factor a channel gets through an operator in float; ``channel_groups.py``."""


class Operator:
    """Facts about one operator of the standard ONNX domain; the class is called as it is.

    Attributes:
        kind: See above.
        data: Indices of the inputs that are activations (None: all of them).
        weight: Index of the constant weight.
        bias: Index of the constant bias, a vector.
        weight_zero_point: The kernel wants the weight's zero point, although it is zero.
        kernels: What ONNX Runtime calls its INT8 kernels; none: the operator keeps its type.
        int8_output: The kernel has to round its output to the grid; without it the output is
            float, and rounded only where an INT8 operator reads it.
        fuses_activation: A Relu or Clip behind it becomes part of its kernel.
        shared_grid: The inputs may be put on the output's grid, which saves one rounding.
        on_bytes: Works on the codes themselves, because ONNX Runtime does not fuse it between
            Q/DQ nodes.
        picks: A movement whose result is smaller than what it reads: in float, what is left is
            better rounded behind it.
        sums: Adds its operands up, which the kernel that computes one of them may do as well.
        channel_axis: Of an operator with a weight: the axis of what it reads and writes that its
            channels lie along.
        ends_preactivation: Runs in INT8 on images, so that an affine map in front of it is worth
            an INT8 kernel of its own.
    """

    kind: ClassVar[Kind]
    data: ClassVar[tuple[int, ...] | None] = (0,)
    weight: ClassVar[int | None] = None
    bias: ClassVar[int | None] = None
    weight_zero_point: ClassVar[bool] = False
    kernels: ClassVar[frozenset[str]] = frozenset()
    int8_output: ClassVar[bool] = True
    fuses_activation: ClassVar[bool] = False
    shared_grid: ClassVar[bool] = False
    on_bytes: ClassVar[bool] = False
    picks: ClassVar[bool] = False
    sums: ClassVar[bool] = False
    channel_axis: ClassVar[int] = -1
    ends_preactivation: ClassVar[bool] = False

    @property
    def op_type(self) -> str:
        """What ONNX calls it."""
        return type(self).__name__

    def refuse(self, node: ir.Node) -> str | None:
        """Why ``node`` cannot run in INT8, or None."""
        return None

    def bounds(self, node: ir.Node) -> tuple[float, float] | None:
        """Bounds that it cuts values at, infinite where there is none; None where not known."""
        return None

    def factors(self, node: ir.Node) -> Factors | None:
        """How ``node`` lets a positive factor a channel through, or None."""
        return None

    def storage(self, node: ir.Node) -> Storage | None:
        """How the weights of ``node`` can be bytes though its activations are not, or None."""
        return None

    def adapt_to_codes(self, node: ir.Node, zero_point: Callable[[], ir.Value]) -> None:
        """Change what in ``node`` stands for a value, where ``on_bytes``."""

    # What follows is asked of operators with a weight only.

    def weight_axis(self, node: ir.Node) -> int | None:
        """Axis of the weight that has a scale each; None: one scale for all."""
        return None

    def added_bias(self, node: ir.Node) -> tuple[ir.Node, ir.Value] | None:
        """The addition behind ``node`` that its kernel takes in as a bias, and what it adds.

        That is one number a channel, in a vector or with axes of one in front.
        """
        return None

    def groups(self, node: ir.Node) -> int:
        """Parts of the channels that the kernel keeps apart."""
        return 1

    def pads_with_zeros(self, node: ir.Node) -> bool:
        """Whether the kernel also sees zeros that are not in its input."""
        return False

    def kernel_inputs(self, node: ir.Node, weight: Array) -> int | None:
        """Inputs that one output sums over; None where the weight has no such matrix form."""
        return None

    def kernel_rows(
        self, node: ir.Node, weight: Array, batch: Array, step: Callable[[int], int]
    ) -> Array:
        """What the kernel multiplies by the weight, ``[groups, positions, kernel_inputs]``.

        Of all positions every ``step(how many there are)``-th.
        """
        raise NotImplementedError(f"{self.op_type} has no matrix form")

    def kernel_order(self, node: ir.Node, weight: Array) -> Array | None:
        """Weights ``[outputs, inputs]``, neighbours as the kernel adds them up in 16 bits.

        That is on CPUs without VNNI, see ``saturation.py``. None: it cannot saturate.
        """
        raise NotImplementedError(f"{self.op_type} has no weight")


def refuse_weight(node: ir.Node, index: int) -> str | None:
    """Why input ``index`` cannot be an INT8 weight."""
    weight = node.inputs[index]
    if not is_constant(weight):
        return "both operands are activations, and ONNX Runtime multiplies only U8S8 fast"
    if weight is not None and weight.const_value is not None and weight.const_value.size == 0:
        return "the weight is empty"
    return None


def refuse_bias(node: ir.Node, index: int) -> str | None:
    """Why input ``index``, if there is one, cannot be an INT32 bias."""
    bias = node.inputs[index] if len(node.inputs) > index else None
    return None if bias is None or is_constant(bias) else "the bias is not constant"


def refuse_constant_operand(node: ir.Node) -> str | None:
    """Why an operator between activations has no business with a constant."""
    if any(is_constant(value) for value in node.inputs):
        return "one operand is constant: cheaper and more accurate in float"
    return None
