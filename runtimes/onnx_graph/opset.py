"""Convert to another opset with ONNX's own version converter, without passing weights to it."""

from __future__ import annotations

import onnx_ir as ir

from runtimes.errors import ModelError, first_line

# The version converter takes one protobuf message. Tensors up to this size stay in it, because
# some of its adapters read them (axes, sizes, thresholds); larger ones are never read.
_STAYS_BELOW_BYTES = 4096


def convert_opset(model: ir.Model, version: int) -> ir.Model:
    """``model`` at opset ``version``; returned as it is if it already has that opset.

    Weights are shared, not copied, so a model of any size can be converted. The IR version is the
    oldest that supports the opset. Raises ``ModelError`` if ONNX cannot convert an operator, or if
    the result is not a valid model.
    """
    before = model.opset_imports.get("", 1)
    if before == version:
        model.ir_version = oldest_ir_version(version)
        return model
    import onnx.checker
    import onnx.version_converter

    weights = _take_weights(model)
    try:
        message = onnx.version_converter.convert_version(ir.to_proto(model), version)
        onnx.checker.check_model(message)
        converted = ir.from_proto(message)
    except Exception as error:  # the converter raises bare C++ exceptions
        raise ModelError(
            f"ONNX cannot convert the model from opset {before} to {version}: {first_line(error)}"
        ) from error
    finally:
        _give_weights(model, weights)
    _keep_metadata(model, converted)
    _give_weights(converted, weights)
    converted.ir_version = oldest_ir_version(version)
    return converted


def oldest_ir_version(opset: int) -> int:
    """The IR version that came with ``opset``: an older runtime may refuse a newer one."""
    import onnx.helper

    version: int = onnx.helper.OP_SET_ID_VERSION_MAP[("ai.onnx", opset)]
    return version


def newest_opset() -> int:
    """The newest opset that the installed ONNX supports."""
    import onnx.defs

    return int(onnx.defs.onnx_opset_version())


def _take_weights(model: ir.Model) -> dict[str, ir.TensorProtocol]:
    """Temporarily turn the large initializers of the main graph into plain inputs."""
    weights = {}
    for name, value in list(model.graph.initializers.items()):
        tensor = value.const_value
        if tensor is not None and tensor.nbytes > _STAYS_BELOW_BYTES:
            weights[name] = tensor
            value.dtype, value.shape = tensor.dtype, ir.Shape(tensor.shape.numpy())
            del model.graph.initializers[name]
            value.const_value = None
            model.graph.inputs.append(value)
    return weights


def _give_weights(model: ir.Model, weights: dict[str, ir.TensorProtocol]) -> None:
    for value in [value for value in model.graph.inputs if value.name in weights]:
        model.graph.inputs.remove(value)
        value.const_value = weights[str(value.name)]
        model.graph.register_initializer(value)


def _keep_metadata(model: ir.Model, converted: ir.Model) -> None:
    """Restore the nodes' metadata, which the converter drops, by matching output names."""
    by_output = {
        value.name: node
        for node in ir.traversal.RecursiveGraphIterator(model.graph)
        for value in node.outputs
    }
    for node in ir.traversal.RecursiveGraphIterator(converted.graph):
        for value in node.outputs:
            if (old := by_output.get(value.name)) is not None:
                node.metadata_props.update(old.metadata_props)
                node.name = node.name or old.name
    converted.producer_name, converted.producer_version = "kilnx", None
    converted.graph.name = model.graph.name
