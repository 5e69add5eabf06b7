"""What tf2onnx writes for element types that ONNX Runtime has no kernel for, in other types."""

from __future__ import annotations

import onnx_ir as ir

_BOOL, _INT64 = 9, 7


def replace_missing_kernels(model: ir.Model) -> None:
    """Write an EyeLike of booleans as one of whole numbers and a Cast, in place."""
    for node in list(model.graph.all_nodes()):
        if node.op_type == "EyeLike" and node.attributes.get_int("dtype", 0) == _BOOL:
            _through_integers(node)


def _through_integers(node: ir.Node) -> None:
    node.attributes["dtype"] = ir.AttrInt64("dtype", _INT64)
    output = node.outputs[0]
    cast = ir.node("Cast", [output], {"to": _BOOL}, name=f"{node.name}/cast")
    graph = node.graph
    assert graph is not None
    graph.insert_after(node, cast)
    for user, index in list(output.uses()):
        if user is not cast:
            user.replace_input_with(index, cast.outputs[0])
    cast.outputs[0].shape, cast.outputs[0].type = output.shape, ir.TensorType(ir.DataType.BOOL)
    output.type = ir.TensorType(ir.DataType.INT64)
