"""The same small models as ONNX and Keras files, for what every engine does alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
from runtime_fixtures import HEADER

WEIGHTS = np.float32([[1, -2, 0.5], [0.25, 3, -1]])

_TEXTS = {
    "two": "g (float[batch, 3] x, int64[batch, 2] n)"
    " => (float[batch, 3] double, int64[batch, 2] m)"
    "{ double = Add(x, x)\n zero = Sub(n, n)\n m = Sub(zero, n) }",
    "linear": "g (float[batch, 2] x) => (float[batch, 3] y)"
    "<float[2, 3] w = {1, -2, 0.5, 0.25, 3, -1}> { a = MatMul(x, w)\n y = Relu(a) }",
    "fixed": "g (float[4, 2] x) => (float[4, 2] y) { y = Neg(x) }",
    "failing": "g (float[n, 2] a, float[m, 2] b) => (float[k, 2] y) { [sum] y = Add(a, b) }",
    "quantized": "g (float[batch, 4] x) => (float[batch, 4] y) <float s = {0.5}, uint8 z = {8}>"
    "{ q = QuantizeLinear(x, s, z)\n y = DequantizeLinear(q, s, z) }",
}


def write_onnx_files(folder: Path) -> Mapping[str, Path]:
    """Each model as a file, the large weights of ``external`` in a second one."""
    files = {}
    for name, text in _TEXTS.items():
        files[name] = folder / f"{name}.onnx"
        onnx.save(onnx.parser.parse_model(HEADER + text), files[name])
    files["external"] = folder / "external.onnx"
    linear = ir.load(files["linear"])
    ir.save(linear, files["external"], external_data="external.data", size_threshold_bytes=0)
    linear = ir.load(files["linear"])
    linear.graph.inputs.append(linear.graph.initializers["w"])
    files["default"] = folder / "default.onnx"
    ir.save(linear, files["default"])
    files["damaged"] = folder / "damaged.onnx"
    files["damaged"].write_bytes(files["linear"].read_bytes()[:60])
    return files


def write_keras_files(folder: Path, keras: Any) -> Mapping[str, Path]:
    """The models again, built in Keras."""
    models = {
        "two": _two(keras),
        "linear": _linear(keras),
        "fixed": _fixed(keras),
        "failing": _failing(keras),
        "quantized": _quantized(keras),
    }
    files = {name: folder / f"{name}.keras" for name in models}
    for name, model in models.items():
        model.save(files[name])
    files["damaged"] = folder / "damaged.keras"
    files["damaged"].write_bytes(files["linear"].read_bytes()[:60])
    return files


def _two(keras: Any) -> Any:
    x = keras.Input((3,), name="x")
    n = keras.Input((2,), name="n", dtype="int64")
    return keras.Model({"x": x, "n": n}, {"double": x + x, "m": -n})


def _linear(keras: Any) -> Any:
    x = keras.Input((2,), name="x")
    dense = keras.layers.Dense(3, use_bias=False, activation="relu", name="y")
    model = keras.Model(x, dense(x))
    dense.set_weights([WEIGHTS])
    return model


def _fixed(keras: Any) -> Any:
    x = keras.Input(batch_shape=(4, 2), name="x")
    return keras.Model({"x": x}, {"y": -x})


def _failing(keras: Any) -> Any:
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    return keras.Model({"a": a, "b": b}, {"y": keras.layers.Add()([a, b])})


def _quantized(keras: Any) -> Any:
    x = keras.Input((4,), name="x")
    dense = keras.layers.Dense(4, name="y")
    model = keras.Model({"x": x}, {"y": dense(x)})
    dense.quantize("int8")
    return model
