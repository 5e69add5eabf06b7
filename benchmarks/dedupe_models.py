"""The models of ``dedupe.py``: a chain of products, and one backbone with many heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

HEADS = 8
CLASSES = 100


def chain(weights: list[Any]) -> ir.Model:
    """Matrix products with a Tanh after each."""
    x = ir.val("x", ir.DataType.FLOAT, ["N", weights[0].shape[0]])
    nodes, initializers, value = [], [], x
    for index, array in enumerate(weights):
        tensor = ir.tensor(array, name=f"w{index}")
        weight = ir.val(f"w{index}", ir.DataType.FLOAT, array.shape, const_value=tensor)
        nodes += [ir.node("MatMul", [value, weight])]
        nodes += [ir.node("Tanh", nodes[-1].outputs)]
        nodes[-2].outputs[0].name, nodes[-1].outputs[0].name = f"p{index}", f"t{index}"
        value = nodes[-1].outputs[0]
        initializers.append(weight)
    value.type, value.shape = x.type, ir.Shape(["N", weights[-1].shape[1]])
    graph = ir.Graph(
        [x], [value], nodes=nodes, initializers=initializers, opset_imports={"": 18}, name="g"
    )
    return ir.Model(graph, ir_version=9)


def run(path: Path, feed: dict[str, Any]) -> Any:
    from runtimes.engines.ort import OrtRuntime

    with OrtRuntime(path, threads=1) as runtime:
        return next(iter(runtime.run(feed).values()))


def mobile_nets(folder: Path, heads: int = HEADS) -> list[Path]:
    """One exported MobileNetV2 with a head of ``CLASSES``; the others differ in the head."""
    import keras

    from converter import convert

    keras.utils.set_random_seed(0)
    backbone = keras.applications.MobileNetV2(
        weights=None, input_shape=(224, 224, 3), include_top=False, pooling="avg"
    )
    image = keras.Input((224, 224, 3), name="image")
    outputs = keras.layers.Dense(CLASSES, name="head")(backbone(image, training=False))
    first = folder / "head0.onnx"
    convert(keras.Model(image, outputs), first)
    paths = [first]
    for index in range(1, heads):
        rng = np.random.default_rng(index)
        model = ir.load(first)
        for value in model.graph.initializers.values():
            users = [node.metadata_props.get("kilnx.layer", "") for node in value.consumers()]
            if any("head" in layer for layer in users) and value.const_value is not None:
                array = rng.normal(size=value.const_value.shape.numpy(), scale=0.05)
                tensor = ir.tensor(array.astype(np.float32), name=value.name)
                value.const_value = tensor
        paths.append(folder / f"head{index}.onnx")
        ir.save(model, paths[-1])
    return paths
