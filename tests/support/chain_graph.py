"""Graphs that are cut in the tests of stages."""

from __future__ import annotations

import itertools

import numpy as np
import onnx_ir as ir


def chain(widths: tuple[int, ...], seed: int = 0) -> ir.Model:
    """Dense layers with ReLU between them, a residual sum around the second, and two outputs."""
    rng = np.random.default_rng(seed)
    x = ir.val("x", ir.DataType.FLOAT, ["N", widths[0]])
    nodes: list[ir.Node] = []
    tensors: list[ir.Value] = []
    value = x
    for number, (before, after) in enumerate(itertools.pairwise(widths)):
        weight = rng.normal(0, before**-0.5, (before, after)).astype(np.float32)
        name = f"w{number}"
        tensor = ir.val(
            name, ir.DataType.FLOAT, weight.shape, const_value=ir.tensor(weight, name=name)
        )
        tensors.append(tensor)
        nodes.append(ir.node("MatMul", [value, tensor], name=f"product{number}"))
        nodes.append(ir.node("Relu", [nodes[-1].outputs[0]], name=f"relu{number}"))
        if number == 1 and before == after:
            nodes.append(ir.node("Add", [nodes[-1].outputs[0], value], name="sum"))
        value = nodes[-1].outputs[0]
        value.name = f"h{number}"
    early = nodes[1].outputs[0]
    for output in (early, value):
        output.type, output.shape = x.type, ir.Shape(["N", None])
    graph = ir.Graph(
        [x],
        [early, value],
        nodes=nodes,
        initializers=tensors,
        opset_imports={"": 18},
        name="chain",
    )
    return ir.Model(graph, ir_version=10)
