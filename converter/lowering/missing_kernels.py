"""What is written for element types that ONNX Runtime has no kernel for, in wider types.

The table is that of ONNX Runtime's kernels for the CPU, less what it casts itself (float16):
https://github.com/microsoft/onnxruntime/blob/main/docs/OperatorKernels.md
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx_ir as ir

from runtimes.onnx_graph.values import add_initializer, constant, replace_value

_BOOL, _INT64, _DOUBLE = ir.DataType.BOOL, ir.DataType.INT64, ir.DataType.DOUBLE
_SIXTEEN = {ir.DataType.INT16, ir.DataType.UINT16}
_SMALL = {*_SIXTEEN, ir.DataType.INT8, ir.DataType.UINT8}
_UINT32, _UINT64 = ir.DataType.UINT32, ir.DataType.UINT64


@dataclass(frozen=True)
class _Widening:
    """Types to widen, and which inputs and outputs have them; ``None`` is all."""

    types: frozenset[ir.DataType]
    inputs: tuple[int, ...] | None = (0,)
    outputs: tuple[int, ...] = (0,)
    to: ir.DataType = _INT64


def _widening(types: Iterable[ir.DataType], *inputs: int, outputs: bool = True) -> _Widening:
    return _Widening(frozenset(types), inputs or None, (0,) if outputs else ())


_SUMS = _widening({*_SMALL, _UINT32, _UINT64}, 0)
_ORDERS = _widening({*_SIXTEEN, _UINT32, _BOOL}, 0)
_AS_DOUBLES = _Widening(frozenset({*_SIXTEEN, ir.DataType.INT32}), to=_DOUBLE)
_WIDENED = {
    **dict.fromkeys(("CumSum", "ReduceMean", "ReduceProd", "ReduceSum", "ReduceSumSquare"), _SUMS),
    "ArgMax": _widening(_ORDERS.types, 0, outputs=False),
    "ArgMin": _widening(_ORDERS.types, 0, outputs=False),
    "Clip": _widening(_SIXTEEN),
    "Einsum": _widening({*_SMALL, _UINT32, _UINT64}),
    "MatMul": _widening(_SMALL),
    "Max": _widening(_SIXTEEN),
    **dict.fromkeys(("DepthToSpace", "MaxPool", "SpaceToDepth"), _AS_DOUBLES),
    "Min": _widening(_SIXTEEN),
    "NonZero": _widening({*_SIXTEEN, ir.DataType.INT8, _UINT32, _UINT64}, 0, outputs=False),
    "Pad": _widening(_SIXTEEN, 0, 2),
    "Pow": _widening({*_SMALL, _UINT32, _UINT64}),
    "Range": _widening({ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.UINT16, _UINT32, _UINT64}),
    "ReduceMax": _ORDERS,
    "ReduceMin": _ORDERS,
    "Trilu": _widening({*_SMALL, _UINT32, _UINT64}, 0),
    "Where": _widening({*_SIXTEEN, _UINT64}, 1, 2),
}


def replace_missing_kernels(model: ir.Model) -> None:
    """Write an EyeLike of booleans as one of whole numbers and a Cast, in place."""
    for node in list(model.graph.all_nodes()):
        if node.op_type == "EyeLike" and node.attributes.get_int("dtype", 0) == _BOOL:
            node.attributes["dtype"] = ir.AttrInt64("dtype", _INT64)
            _cast_output(node, 0, _BOOL, _INT64)


def widen_missing_kernels(model: ir.Model) -> None:
    """Compute in wider types what has no kernel in small or unsigned ones, in place.

    What wraps around wraps when it is cast back.
    """
    for node in list(model.graph.all_nodes()):
        rule = _WIDENED.get(node.op_type) if node.domain == "" else None
        if rule is None:
            continue
        positions = range(len(node.inputs)) if rule.inputs is None else rule.inputs
        given = [(i, node.inputs[i]) for i in positions if i < len(node.inputs)]
        widened = [(i, value) for i, value in given if value is not None]
        dtype = next((value.dtype for _, value in widened), None)
        if dtype not in rule.types:
            continue
        for i, value in widened:
            node.replace_input_with(i, _wider(node, value, rule.to))
        for i in rule.outputs:
            _cast_output(node, i, dtype, rule.to)


def _wider(node: ir.Node, value: ir.Value, dtype: ir.DataType) -> ir.Value:
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    array = constant(value)
    if array is not None:
        return add_initializer(graph, f"{value.name}_wider", array.astype(dtype.numpy()))
    cast = ir.node("Cast", [value], {"to": dtype}, name=f"{node.name}/wider")
    cast.metadata_props.update(node.metadata_props)
    cast.outputs[0].shape, cast.outputs[0].type = value.shape, ir.TensorType(dtype)
    graph.insert_before(node, cast)
    return cast.outputs[0]


def _cast_output(node: ir.Node, index: int, dtype: ir.DataType, wide: ir.DataType) -> None:
    """Let all that uses an output of ``wide`` numbers take it as ``dtype``."""
    output, graph = node.outputs[index], node.graph
    assert graph is not None
    stand_in = ir.Value(name=output.name, shape=output.shape, type=ir.TensorType(dtype))
    cast = ir.node("Cast", [output], {"to": dtype}, name=f"{node.name}/cast", outputs=[stand_in])
    cast.metadata_props.update(node.metadata_props)
    output.type = ir.TensorType(wide)
    graph.insert_after(node, cast)
    name = output.name
    replace_value(output, stand_in)
    cast.replace_input_with(0, output)
    output.name, stand_in.name = f"{name}_wide", name
