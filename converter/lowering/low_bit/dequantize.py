"""ONNX nodes for weights in few bits: integers in the file, and what makes them floats again.

From opset 21 DequantizeLinear takes INT4 and blocks of rows, and ONNX Runtime fuses it with the
MatMul that follows. Older opsets get INT8; there a scale for each block is a Mul.
https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from converter.lowering.low_bit.weights import LowBitMatrix
from converter.passes.deduplication.initializers import DeduplicateInitializers
from runtimes.base import Array
from runtimes.onnx_graph.layer_names import LAYER_KEY
from runtimes.onnx_graph.values import opset, unused_name

INT4_OPSET = 21
"""The first opset with DequantizeLinear of INT4, and in blocks."""

# As for other weights: below it a duplicate costs nothing.
_DEDUPLICATE_FROM_BYTES = 1 << 16


def write_dequantized(model: ir.Model, matrices: Mapping[str, LowBitMatrix]) -> None:
    """Put the nodes of ``matrices`` in the place of the graph inputs of these names, in place."""
    graph = model.graph
    version = opset(model)
    for value in [value for value in graph.inputs if value.name in matrices]:
        matrix = matrices[str(value.name)]
        graph.inputs.remove(value)
        users = [use.node for use in value.uses()]
        if users:
            writer = _Writer(graph, users[0].metadata_props.get(LAYER_KEY))
            result = writer.write(matrix, version)
            value.replace_all_uses_with(result)
    if matrices:
        DeduplicateInitializers(min_bytes=_DEDUPLICATE_FROM_BYTES)(model)


class _Writer:
    """Adds nodes in front of all others, named after the layer that uses the weight."""

    def __init__(self, graph: ir.Graph, layer: str | None) -> None:
        self._graph = graph
        self._layer = layer
        self._first = graph[0]
        self._names = {node.name for node in graph}

    def write(self, matrix: LowBitMatrix, version: int) -> ir.Value:
        bits = matrix.bits if version >= INT4_OPSET else 8
        if matrix.block_size is not None and version < INT4_OPSET:
            return self._write_blocks(matrix)
        name = self._name("DequantizeLinear")
        inputs = [
            self._integers(f"{name}/x", matrix.codes, bits),
            self._constant(f"{name}/x_scale", ir.tensor(matrix.scale)),
        ]
        if matrix.zero is not None:
            inputs.append(self._integers(f"{name}/x_zero_point", matrix.zero, bits))
        attributes: dict[str, int] = {"axis": matrix.axis}
        if matrix.block_size is not None:
            attributes = {"axis": 0, "block_size": matrix.block_size}
        return self._node("DequantizeLinear", inputs, matrix.codes.shape, name, attributes)

    def _write_blocks(self, matrix: LowBitMatrix) -> ir.Value:
        """``(codes - zero) * scale`` on (blocks, rows of a block, columns)."""
        assert matrix.block_size is not None
        rows, columns = matrix.codes.shape
        blocks, size = len(matrix.scale), matrix.block_size
        codes = np.zeros((blocks * size, columns), matrix.codes.dtype)
        codes[:rows] = matrix.codes
        shape = (blocks, size, columns)
        name = self._name("Cast")
        x = self._integers(f"{name}/input", codes.reshape(shape), 8)
        x = self._node("Cast", [x], shape, name, {"to": ir.DataType.FLOAT.value})
        if matrix.zero is not None:
            zero = matrix.zero.astype(np.float32)[:, None]
            x = self._with_constant("Sub", x, zero, shape)
        x = self._with_constant("Mul", x, matrix.scale[:, None], shape)
        x = self._with_constant("Reshape", x, np.array([-1, columns]), codes.shape)
        if rows == len(codes):
            return x
        name = self._name("Slice")
        bounds = [
            self._constant(f"{name}/{what}", ir.tensor(np.array([number], np.int64)))
            for what, number in (("starts", 0), ("ends", rows), ("axes", 0))
        ]
        return self._node("Slice", [x, *bounds], (rows, columns), name)

    def _with_constant(
        self, op_type: str, x: ir.Value, array: Array, shape: tuple[int, ...]
    ) -> ir.Value:
        name = self._name(op_type)
        formal = "shape" if op_type == "Reshape" else "B"
        constant = self._constant(f"{name}/{formal}", ir.tensor(array))
        return self._node(op_type, [x, constant], shape, name)

    def _node(
        self,
        op_type: str,
        inputs: list[ir.Value],
        shape: tuple[int, ...],
        name: str,
        attributes: Mapping[str, int] | None = None,
    ) -> ir.Value:
        node = ir.node(op_type, inputs, dict(attributes or {}), name=name)
        if self._layer is not None:
            node.metadata_props[LAYER_KEY] = self._layer
        output = node.outputs[0]
        output.name = unused_name(self._graph, name)
        output.dtype, output.shape = ir.DataType.FLOAT, ir.Shape(shape)
        self._graph.insert_before(self._first, node)
        return output

    def _integers(self, name: str, codes: Array, bits: int) -> ir.Value:
        signed = codes.dtype == np.int8
        if bits == 8:
            return self._constant(name, ir.tensor(np.ascontiguousarray(codes)))
        dtype = ir.DataType.INT4 if signed else ir.DataType.UINT4
        packed = ir.PackedTensor(_packed(codes), dtype, shape=ir.Shape(codes.shape))
        return self._constant(name, packed)

    def _constant(self, name: str, tensor: ir.TensorProtocol) -> ir.Value:
        tensor.name = unused_name(self._graph, name)
        value = ir.Value(
            name=tensor.name,
            type=ir.TensorType(tensor.dtype),
            shape=tensor.shape if isinstance(tensor.shape, ir.Shape) else None,
            const_value=tensor,
        )
        self._graph.register_initializer(value)
        return value

    def _name(self, op_type: str) -> str:
        base = f"{self._layer}/{op_type}" if self._layer else op_type
        name, count = base, 0
        while name in self._names:
            count += 1
            name = f"{base}_{count}"
        self._names.add(name)
        return name


def _packed(codes: Array) -> Array:
    """Two integers a byte in row-major order, the first in the low half, as ONNX stores them."""
    flat = codes.reshape(-1).view(np.uint8) & 15
    if flat.size % 2:
        flat = np.append(flat, np.uint8(0))
    return flat[::2] | (flat[1::2] << 4)
