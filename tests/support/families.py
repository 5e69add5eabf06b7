"""Models that share a backbone, each with a head of its own, as bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from runtimes.bundle import write_bundle

WIDTH, LAYERS, CLASSES = 96, 40, 1400
HEAD_BYTES = (WIDTH + 1) * CLASSES * 4


def family_model(seed: int, classes: int = CLASSES) -> ir.Model:
    """A chain of dense layers that all members share, and a head from ``seed``."""
    shared, own = np.random.default_rng(0), np.random.default_rng(100 + seed)
    x = ir.val("x", ir.DataType.FLOAT, ["n", WIDTH])
    nodes: list[ir.Node] = []
    weights: list[ir.Value] = []
    value = x
    for number in range(LAYERS + 1):
        rng, out = (shared, WIDTH) if number < LAYERS else (own, classes)
        layer = []
        for kind, shape in (("kernel", (WIDTH, out)), ("bias", (out,))):
            array = (rng.normal(size=shape) / 10).astype(np.float32)
            name = f"{kind}_{number}"
            layer.append(
                ir.val(name, ir.DataType.FLOAT, shape, const_value=ir.tensor(array, name=name))
            )
        weights += layer
        product = ir.node("MatMul", [value, layer[0]], name=f"layer_{number}/MatMul")
        product.outputs[0].name = f"layer_{number}/product"
        total = ir.node("Add", [product.outputs[0], layer[1]], name=f"layer_{number}/Add")
        total.outputs[0].name = f"layer_{number}/sum"
        nodes += [product, total]
        value = total.outputs[0]
        if number < LAYERS:
            nodes.append(ir.node("Tanh", [value], name=f"layer_{number}/Tanh"))
            value = nodes[-1].outputs[0]
            value.name = f"layer_{number}/tanh"
    value.name, value.type, value.shape = "y", x.type, ir.Shape(["n", classes])
    graph = ir.Graph(
        [x], [value], nodes=nodes, initializers=weights, opset_imports={"": 18}, name=f"m{seed}"
    )
    return ir.Model(graph, ir_version=9)


def family_bundle(folder: Path, seed: int, name: str = "", **more: Any) -> Path:
    """Write the bundle of a member as one file."""
    name = name or f"head{seed}"
    model = folder / f"model-{seed}.onnx"
    ir.save(family_model(seed), model)
    path = folder / f"{name}-{seed}.kilnx"
    write_bundle(path, model=model, name=name, **more).close()
    return path
