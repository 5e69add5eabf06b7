"""Constant folding: compute ahead of time what does not depend on the input."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from runtimes.onnx_graph.evaluate import evaluate, is_random
from runtimes.onnx_graph.result_sizes import result_elements
from runtimes.onnx_graph.rewrite import Refuse, Refused, RewritePass
from runtimes.onnx_graph.values import (
    Array,
    add_initializer,
    all_nodes,
    constant,
    drop_if_unused,
    is_constant,
    is_op,
    opset,
)


class FoldConstants(RewritePass):
    """Replace nodes whose inputs are all constants by their results.

    A node stays if its result would add more than ``max_growth_bytes`` to the file (a broadcast,
    or a transposed copy of a weight that is also used as it is): runtimes compute it once when they
    load the model. For a copy that is only transposed or sliced (tied embeddings), the limit is
    ``max_copy_bytes``. A node also stays if its constant is small on purpose (quantized weights),
    if two runs of it may differ, or if its output is an output of the graph.

    Weights are folded one at a time, and each source is dropped as soon as nothing uses it.
    """

    def __init__(
        self, max_growth_bytes: int = 1 << 16, max_copy_bytes: int = (1 << 12) - 1
    ) -> None:
        self.max_growth_bytes = max_growth_bytes
        self.max_copy_bytes = max_copy_bytes

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Fold in graph order, so that whole chains are folded in one call."""
        modified = False
        version = opset(model)
        for node in all_nodes(model):
            if not _is_foldable(node):
                continue
            try:
                _check_allowed(node)
                self.fold(node, version)
                modified = True
            except Refused as reason:
                refuse(node, str(reason))
        return modified

    def fold(self, node: ir.Node, version: int) -> None:
        """Replace one node with constant inputs by its results, or raise ``Refused``."""
        graph = node.graph
        assert isinstance(graph, ir.Graph)
        arrays = [constant(value) for value in node.inputs]
        try:
            elements = result_elements(node, arrays)
        except (ValueError, IndexError, TypeError) as error:
            raise Refused(f"its inputs do not fit each other ({error})") from error
        if elements is None:
            raise Refused("the size of its result is not known in advance")
        growth = _growth_bytes(node, elements)
        copies = is_op(node, "Transpose", "Reshape", "Slice")
        if growth > (self.max_copy_bytes if copies else self.max_growth_bytes):
            raise Refused(f"its result would add {growth} bytes to the file")
        try:
            results = evaluate(node, arrays, version)
        except (ValueError, IndexError) as error:
            raise Refused(f"it cannot be computed ({error})") from error
        if results is None:
            raise Refused("no exact way to compute it here")
        for output, result in zip(node.outputs, results, strict=True):
            if output.uses():
                _replace(graph, output, result)
        sources = node.inputs
        graph.remove(node, safe=True)
        drop_if_unused(sources)


def _is_foldable(node: ir.Node) -> bool:
    """Whether every input is a constant and the result depends on nothing else."""
    return (
        node.domain == ""
        and any(value is not None for value in node.inputs)
        and all(value is None or is_constant(value) for value in node.inputs)
        and not any(
            a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
            for a in node.attributes.values()
        )
    )


def _check_allowed(node: ir.Node) -> None:
    if is_random(node):
        raise Refused("two runs of it may differ")
    if any(output.is_graph_output() for output in node.outputs):
        raise Refused("its result is an output of the graph")
    if is_op(node, "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"):
        raise Refused("it says how a constant is quantized")
    if any(value is not None and value.dtype == ir.DataType.STRING for value in node.inputs):
        raise Refused("strings are not computed here")
    if is_op(node, "Cast"):
        source, to = node.inputs[0], ir.DataType(node.attributes.get_int("to", 0))
        if (
            source is not None
            and source.const_value is not None
            and source.const_value.size > 64
            and source.const_value.dtype.bitwidth < 16
            and source.const_value.dtype != ir.DataType.BOOL
            and to.bitwidth > source.const_value.dtype.bitwidth
        ):
            raise Refused("its constant is stored in few bits on purpose")


def _growth_bytes(node: ir.Node, elements: int) -> int:
    """Bytes that the result adds, minus those of the sources that nothing else uses."""
    output = node.outputs[0]
    dtype = output.dtype
    if is_op(node, "Cast"):
        dtype = ir.DataType(node.attributes.get_int("to", 0))
    if dtype is None:
        dtype = next((v.dtype for v in node.inputs if v is not None), None) or ir.DataType.FLOAT
    freed = sum(
        value.const_value.nbytes
        for value in dict.fromkeys(node.inputs)
        if value is not None
        and value.const_value is not None
        and all(use.node is node for use in value.uses())
        and not value.is_graph_output()
    )
    return math.ceil(elements * dtype.itemsize) - freed


def _replace(graph: ir.Graph, output: ir.Value, result: Array) -> None:
    # A view would keep the memory of a source alive that is no longer used.
    array = np.ascontiguousarray(result).reshape(result.shape)
    name, output.name = output.name, None
    is_free = bool(name) and name not in graph.initializers  # only this output had the name
    value = add_initializer(graph, name or "folded", array, is_free=is_free)
    value.metadata_props.update(output.metadata_props)
    output.replace_all_uses_with(value)
