"""A model made ready for Q/DQ: a copy with names, types and a recent enough opset."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from quantizers.rewrites.preactivation import AffineToDepthwise
from quantizers.rewrites.single_operators import (
    EqualSlopesToLeakyRelu,
    FoldPadIntoConv,
    SpatialMeanToGlobalAveragePool,
    SplitToSlices,
)
from quantizers.rewrites.transformers import RestoreGelu
from runtimes.errors import ModelError
from runtimes.onnx_files.load_save import weight_bytes
from runtimes.onnx_graph.fold_views import FoldViews

MIN_OPSET = 13
"""QuantizeLinear and DequantizeLinear take one scale a channel from this opset on."""

# The version converter works on one protobuf message, which cannot exceed 2 GiB.
_CONVERTIBLE_BELOW_BYTES = 1_800_000_000

_QUANTIZED_OPERATORS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"}
)


def prepare(model: ir.Model) -> ir.Model:
    """A copy of ``model`` (weights shared) of opset 13 or later, every node and value named.

    It computes the same; operators that have no INT8 kernel become others that have one.

    Raises ``ModelError`` for a model that is quantized already, and for one of an older opset
    that cannot be converted.
    """
    refuse_quantized(model)
    copy = raise_opset(model.clone(), MIN_OPSET)
    common.NameFixPass()(copy)
    common.ShapeInferencePass()(copy)
    FoldViews()(copy)  # a weight that is read out of another is a constant for its reader
    FoldPadIntoConv()(copy)
    SpatialMeanToGlobalAveragePool()(copy)
    AffineToDepthwise()(copy)
    SplitToSlices()(copy)
    EqualSlopesToLeakyRelu()(copy)
    RestoreGelu()(copy)
    return copy


def refuse_quantized(model: ir.Model) -> None:
    """Raise ``ModelError`` when ``model`` holds quantized operators."""
    for graph in model.graphs():
        for node in graph:
            if node.op_type in _QUANTIZED_OPERATORS or node.op_type.startswith("QLinear"):
                raise ModelError(
                    f"{model.graph.name or 'the model'} is quantized already: node "
                    f"{node.name!r} is a {node.op_type}; quantize the float model it came from"
                )


def raise_opset(model: ir.Model, minimum: int) -> ir.Model:
    """``model`` converted to opset ``minimum`` by ONNX's version converter, if it is below."""
    opset = model.graph.opset_imports.get("", minimum)
    if opset >= minimum:
        return model
    need = f"opset {opset} is too old: INT8 weights by the channel need opset {minimum}"
    if weight_bytes(model) >= _CONVERTIBLE_BELOW_BYTES:
        raise ModelError(f"{need}, and the model is too large to convert; export it anew")
    import onnx
    from onnx import version_converter

    try:
        converted = version_converter.convert_version(ir.to_proto(model), minimum)
        onnx.checker.check_model(converted)
    except Exception as error:  # the converter raises bare C++ exceptions
        raise ModelError(f"{need}, and converting it failed ({error}); export it anew") from error
    return ir.from_proto(converted)
