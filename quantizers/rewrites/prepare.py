"""A model made ready for Q/DQ: a copy with names, types and a recent enough opset."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from quantizers.rewrites.half_precision import WidenHalf
from quantizers.rewrites.preactivation import AffineToDepthwise
from quantizers.rewrites.single_operators import (
    EqualSlopesToLeakyRelu,
    SpatialMeanToGlobalAveragePool,
    SplitToSlices,
)
from runtimes.errors import ModelError
from runtimes.onnx_graph.fold_constants import FoldConstants
from runtimes.onnx_graph.fold_pads import FoldPads
from runtimes.onnx_graph.fold_views import FoldViews
from runtimes.onnx_graph.opset import convert_opset
from runtimes.onnx_graph.quantized import (
    first_low_bit_node,
    first_quantized_node,
    quantized_already,
    stored_in_few_bits,
)

MIN_OPSET = 13
"""QuantizeLinear and DequantizeLinear take one scale a channel from this opset on."""


def prepare(model: ir.Model) -> ir.Model:
    """A copy of ``model`` (weights shared) of opset 13 or later, every node and value named.

    It computes the same; operators that have no INT8 kernel become others that have one, constants
    are initializers that no caller can replace, and float16 is computed in float32.

    Raises ``ModelError`` for a model that is quantized already, and for one of an older opset
    that cannot be converted.
    """
    refuse_quantized(model)
    copy = _recent(model.clone())
    common.NameFixPass()(copy)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(copy)
    common.RemoveInitializersFromInputsPass()(copy)  # their weights could not be INT8
    common.ShapeInferencePass(strict_mode=False)(copy)  # what contradicts itself is left out
    WidenHalf()(copy)
    FoldConstants()(copy)
    FoldViews()(copy)  # a weight that is read out of another is a constant for its reader
    FoldPads()(copy)
    SpatialMeanToGlobalAveragePool()(copy)
    AffineToDepthwise()(copy)
    SplitToSlices()(copy)
    EqualSlopesToLeakyRelu()(copy)
    return copy


def refuse_quantized(model: ir.Model) -> None:
    """Raise ``ModelError`` when ``model`` holds quantized operators or weights of few bits."""
    node = first_quantized_node(model)
    if node is not None:
        raise ModelError(quantized_already(model.graph.name or "", node.name or "", node.op_type))
    low_bit = first_low_bit_node(model)
    if low_bit is not None:
        raise ModelError(stored_in_few_bits(model.graph.name or "", low_bit))


def _recent(model: ir.Model) -> ir.Model:
    """``model`` at ``MIN_OPSET``, or as it is where it is no older."""
    opset = model.graph.opset_imports.get("", MIN_OPSET)
    if opset >= MIN_OPSET:
        return model
    try:
        return convert_opset(model, MIN_OPSET)
    except ModelError as error:
        raise ModelError(
            f"opset {opset} is too old: INT8 weights by the channel need opset {MIN_OPSET}, and "
            f"converting it failed ({error}); export it anew"
        ) from error
