"""Signed activations and float biases, from unsigned ones on grids around zero.

TensorRT takes Q/DQ only with signed bytes whose zero point is 0, and adds biases in float. Codes of
a grid with the zero point 128 are such bytes, less 128, so that nothing is rounded otherwise.
https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-quantized-types.html
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from quantizers.calibration.scales import SIGNED_ZERO
from runtimes.onnx_graph.values import (
    add_initializer,
    constant,
    drop_if_unused,
    is_op,
    replace_value,
)


def to_signed(graph: ir.Graph) -> None:
    """Write every Q/DQ of unsigned bytes around 128 with signed bytes, and biases as float."""
    signed: dict[ir.Value, ir.Value] = {}
    for node in tuple(graph):
        if not is_op(node, "QuantizeLinear", "DequantizeLinear"):
            continue
        zero = node.inputs[2] if len(node.inputs) > 2 else None
        if zero is None:
            _store_as_float(graph, node)
        elif _is_middle(zero):
            if zero not in signed:
                signed[zero] = add_initializer(graph, f"{zero.name}_signed", np.zeros((), np.int8))
            node.replace_input_with(2, signed[zero])
    drop_if_unused(list(signed))


def _is_middle(zero: ir.Value) -> bool:
    array = constant(zero)
    return array is not None and array.dtype == np.uint8 and bool(array == SIGNED_ZERO)


def _store_as_float(graph: ir.Graph, node: ir.Node) -> None:
    """The values that ``node`` computes of a constant of INT32, in its place."""
    codes, scale = (constant(value) for value in node.inputs[:2])
    if codes is None or scale is None or codes.dtype != np.int32:
        return
    inputs, name = node.inputs, str(node.outputs[0].name)
    array = (codes.astype(np.float64) * scale.astype(np.float64)).astype(np.float32)
    replace_value(node.outputs[0], add_initializer(graph, f"{name}_float", array))
    graph.remove(node, safe=True)
    drop_if_unused(inputs)
