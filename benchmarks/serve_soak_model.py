"""A model whose answer everybody knows: it copies its input, with as much effort as is wanted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper
from serve_models import IDENTITY

COPY = onnx.parser.parse_model(IDENTITY)
BESIDE = "model.data"


def write_identity(
    path: Path, note: str, *, weights: int = 0, rounds: int = 0, beside: bool = False
) -> None:
    """Replace the file at once, by name; ``note`` makes its bytes differ.

    ``weights`` bytes take part in every answer and change none; with ``beside`` they lie in a file
    of their own. ``rounds`` products with a matrix of 256 × 256 make the model slow.
    """
    model = onnx.ModelProto()
    model.CopyFrom(COPY)
    model.doc_string = note
    last = slowed(model.graph, rounds) if rounds else "image"
    del model.graph.node[-1]
    if weights:
        model.graph.node.extend(weighed(model.graph, last, weights))
    else:
        model.graph.node.append(helper.make_node("Identity", [last], ["copy"]))
    onnx.checker.check_model(model)
    replacement = path.with_suffix(".new")
    onnx.save(
        model, replacement, save_as_external_data=beside, location=BESIDE, size_threshold=1024
    )
    replacement.replace(path)


def slowed(graph: onnx.GraphProto, rounds: int) -> str:
    """Products with the unit matrix, before the last node; the name of what comes out."""
    graph.initializer.append(numpy_helper.from_array(np.eye(256, dtype=np.float32), "one"))
    last = "image"
    for step in range(rounds):
        node = helper.make_node("MatMul", [last, "one"], [f"step{step}"])
        graph.node.insert(step, node)
        last = f"step{step}"
    return last


def weighed(graph: onnx.GraphProto, last: str, size: int) -> list[NodeProto]:
    """Nodes that add nothing, and need all weights to know it; NaN among them would be seen.

    They depend on the input: what does not is folded away when the model is opened.
    """
    many = np.random.default_rng(0).random(size // 4, np.float32)
    graph.initializer.append(numpy_helper.from_array(many, "many"))
    graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "zero"))
    return [
        helper.make_node("ReduceMax", [last], ["most"], keepdims=0),
        helper.make_node("Mul", ["many", "most"], ["scaled"]),
        helper.make_node("ReduceSum", ["scaled"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Add", [last, "nothing"], ["copy"]),
    ]
