"""Write an ONNX file and samples for it, without TensorFlow: ``light_model.py FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx

GRAPH = """
<ir_version: 8, opset_import: ["": 18]>
blocks (float[batch, 3, 24, 24] image) => (float[batch, 10] scores) {
    [first] c1 = Conv <pads = [1, 1, 1, 1]> (image, w1, b1)
    [first_relu] r1 = Relu (c1)
    [second] c2 = Conv <pads = [1, 1, 1, 1]> (r1, w2, b2)
    [second_relu] r2 = Relu (c2)
    [twin] c3 = Conv <pads = [1, 1, 1, 1]> (r2, w3, b2)
    [sum] s = Add (c3, r1)
    [sum_relu] r3 = Relu (s)
    [pool] pooled = GlobalAveragePool (r3)
    [flat] flat = Flatten (pooled)
    [scores] scores = Gemm (flat, w4, b4)
}
"""


def weights() -> dict[str, np.ndarray]:
    """Arrays by name; ``w2`` and ``w3`` are equal, so that ``dedupe`` finds something."""
    rng = np.random.default_rng(0)
    shapes = {"w1": (32, 3, 3, 3), "w2": (32, 32, 3, 3), "w4": (32, 10)}
    shapes |= {"b1": (32,), "b2": (32,), "b4": (10,)}
    arrays = {
        name: rng.normal(scale=np.sqrt(2 / max(1, np.prod(shape[1:]))), size=shape)
        for name, shape in shapes.items()
    }
    arrays["w3"] = arrays["w2"].copy()
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def main() -> None:
    """Write ``model.onnx`` and ``data.npz``."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    model = onnx.parser.parse_model(GRAPH)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(array, name) for name, array in weights().items()
    )
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")
    images = np.random.default_rng(1).normal(size=(200, 3, 24, 24)).astype(np.float32)
    np.savez(folder / "data.npz", image=images)


if __name__ == "__main__":
    main()
