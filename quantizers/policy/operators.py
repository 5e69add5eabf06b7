"""The per-operator table: what an operator needs in order to run in INT8 on ONNX Runtime.

A row is what ONNX Runtime's Q/DQ selectors accept, found out by opening the graph that it
optimized (``fusion.py`` does so again for every model). An operator without a row stays in
float. The kinds:

- *compute*: the reason to quantize at all. Takes an INT8 activation and constant weights.
- *arithmetic*: has an INT8 kernel that only pays between operators that are INT8 anyway.
- *movement*: moves or picks values without changing them. Its output lies on the grid of
  its input, so it costs no accuracy.
- *activation*: follows a compute or arithmetic operator and is part of it. Only bounds that
  the edge of the output's grid can express; ONNX Runtime then drops it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import onnx_ir as ir

from runtimes.onnx_graph.values import constant, is_constant, rank

Kind = Literal["compute", "arithmetic", "movement", "activation"]


@dataclass(frozen=True)
class Rule:
    """One row.

    ``data``: indices of the inputs that are activations (None: all of them). ``weight`` and
    ``bias``: indices of the constant inputs, or None. ``weight_axis`` gives the channel axis
    of the weight. ``int8_output``: the kernel has to round its output to the grid; without it
    the output is float, and rounded only where an INT8 operator reads it. ``shared_grid``:
    the inputs may be put on the output's grid, which saves one rounding. ``on_bytes``: works on
    the codes themselves, because ONNX Runtime does not fuse it between Q/DQ nodes. ``refuse``
    gives the reason why a certain node cannot run in INT8, or None.
    """

    kind: Kind
    data: tuple[int, ...] | None = (0,)
    weight: int | None = None
    bias: int | None = None
    weight_axis: Callable[[ir.Node], int | None] = lambda node: None
    weight_zero_point: bool = False
    int8_output: bool = True
    shared_grid: bool = False
    on_bytes: bool = False
    refuse: Callable[[ir.Node], str | None] = lambda node: None


def _refuse_conv(node: ir.Node) -> str | None:
    return _refuse_weight(node, 1) or _refuse_bias(node, 2)


def _refuse_gemm(node: ir.Node) -> str | None:
    for name in ("alpha", "beta"):
        if node.attributes.get_float(name, 1.0) != 1.0:
            return f"{name} is not 1, and the INT8 bias could not follow it"
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None and rank(bias) != 1:
        return "the bias is not a vector"
    return _refuse_weight(node, 1) or _refuse_bias(node, 2)


def _refuse_matmul(node: ir.Node) -> str | None:
    if (rank(node.inputs[1]) or 0) < 2:
        return "the weight is not a matrix"
    return _refuse_weight(node, 1)


def _refuse_weight(node: ir.Node, index: int) -> str | None:
    weight = node.inputs[index]
    if not is_constant(weight):
        return "both operands are activations, and ONNX Runtime multiplies only U8S8 fast"
    if weight is not None and weight.const_value is not None and weight.const_value.size == 0:
        return "the weight is empty"
    return None


def _refuse_bias(node: ir.Node, index: int) -> str | None:
    bias = node.inputs[index] if len(node.inputs) > index else None
    return None if bias is None or is_constant(bias) else "the bias is not constant"


def _refuse_constant_operand(node: ir.Node) -> str | None:
    if any(is_constant(value) for value in node.inputs):
        return "one operand is constant: cheaper and more accurate in float"
    return None


def _refuse_resize(node: ir.Node) -> str | None:
    if node.attributes.get_string("mode", "nearest") != "nearest":
        return "ONNX Runtime interpolates in float only"
    return None


def _refuse_pad(node: ir.Node) -> str | None:
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        fill = constant(node.inputs[2])
        if fill is None or fill.any():
            return "it does not pad with zeros"
    return None


def _refuse_average_pool(node: ir.Node) -> str | None:
    # ORT's QLinearAveragePool lacks dilations, and reads auto_pad in its own way.
    if any(d != 1 for d in node.attributes.get_ints("dilations", ())):
        return "ONNX Runtime's INT8 average pooling has no dilation"
    return None


def _refuse_max_pool(node: ir.Node) -> str | None:
    if len(node.outputs) > 1 and node.outputs[1].uses():
        return "its indices are used"
    return None


def _refuse_gather(node: ir.Node) -> str | None:
    return "it reads a constant table" if is_constant(node.inputs[0]) else None


def _gemm_axis(node: ir.Node) -> int:
    return 0 if node.attributes.get_int("transB", 0) else 1


def _matmul_axis(node: ir.Node) -> int | None:
    # Per-channel scales of stacked matrices have no kernel.
    return 1 if rank(node.inputs[1]) == 2 else None


_MOVEMENT = Rule("movement")

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "Conv": Rule("compute", weight=1, bias=2, weight_axis=lambda node: 0, refuse=_refuse_conv),
        "Gemm": Rule(
            "compute",
            weight=1,
            bias=2,
            weight_axis=_gemm_axis,
            weight_zero_point=True,
            int8_output=False,
            refuse=_refuse_gemm,
        ),
        "MatMul": Rule(
            "compute",
            weight=1,
            weight_axis=_matmul_axis,
            weight_zero_point=True,
            int8_output=False,
            refuse=_refuse_matmul,
        ),
        "Add": Rule("arithmetic", data=None, refuse=_refuse_constant_operand),
        "Mul": Rule("arithmetic", data=None, refuse=_refuse_constant_operand),
        "AveragePool": Rule("arithmetic", refuse=_refuse_average_pool),
        "GlobalAveragePool": Rule("arithmetic"),
        # Both are tables of 256 bytes in INT8; between DequantizeLinear and QuantizeLinear they
        # and the Mul of a swish cost more than the convolutions gain.
        "LeakyRelu": Rule("arithmetic"),
        "Sigmoid": Rule("arithmetic"),
        "Concat": Rule("arithmetic", data=None, shared_grid=True, refuse=_refuse_constant_operand),
        "MaxPool": Rule("movement", refuse=_refuse_max_pool),
        "Pad": Rule("movement", on_bytes=True, refuse=_refuse_pad),
        "Resize": Rule("movement", refuse=_refuse_resize),
        "Gather": Rule("movement", refuse=_refuse_gather),
        "Reshape": _MOVEMENT,
        "Transpose": _MOVEMENT,
        "Flatten": _MOVEMENT,
        "Squeeze": _MOVEMENT,
        "Unsqueeze": _MOVEMENT,
        "Slice": _MOVEMENT,
        "Expand": _MOVEMENT,
        "Tile": _MOVEMENT,
        "DepthToSpace": _MOVEMENT,
        "Relu": Rule("activation"),
        "Clip": Rule("activation"),
    }
)
"""Operators of the standard ONNX domain that can run in INT8."""


def clip_bounds(node: ir.Node) -> tuple[float, float] | None:
    """Bounds of a Relu or Clip, infinite where there is none; None where not constant."""
    if node.op_type == "Relu":
        return 0.0, math.inf
    bounds = []
    for index, absent in ((1, -math.inf), (2, math.inf)):
        value = node.inputs[index] if len(node.inputs) > index else None
        if value is None:
            bounds.append(absent)
            continue
        array = constant(value)
        if array is None or array.size != 1:
            return None
        bounds.append(float(array.reshape(())))
    return bounds[0], bounds[1]


def is_foldable_activation(node: ir.Node) -> bool:
    """Whether the edge of an unsigned grid can take the place of ``node``.

    A grid that starts at zero clips below zero by itself; its top stays at or below the
    upper bound. Other lower bounds rarely fall on a grid.
    """
    rule = RULES.get(node.op_type) if node.domain == "" else None
    if rule is None or rule.kind != "activation":
        return False
    bounds = clip_bounds(node)
    return bounds is not None and bounds[0] == 0.0 and bounds[1] > 0.0
