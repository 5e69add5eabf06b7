"""Layers as linear regressions: rows of inputs, rows of targets, weights between them."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from converter.pruning.regression.base import LinearLayer
from converter.pruning.regression.convolution import convolution
from converter.pruning.regression.dense import dense
from converter.pruning.regression.recurrent import recurrent
from runtimes.onnx_graph.values import is_op

__all__ = ["LinearLayer", "linear_layers"]


def linear_layers(node: ir.Node) -> Sequence[LinearLayer]:
    """The regressions that ``node`` is: one, two for a recurrent node, or none."""
    if is_op(node, "Conv", "ConvTranspose"):
        return convolution(node)
    if is_op(node, "MatMul", "Gemm"):
        return dense(node)
    if is_op(node, "LSTM", "GRU", "RNN"):
        return recurrent(node)
    return ()
