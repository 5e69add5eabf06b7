"""Which stored forms of weights ONNX Runtime computes at load, and what they cost.

``python benchmarks/low_bit_forms.py [SIZE]``: a square matrix product whose weight is stored in
each form: bytes of the file, time to load and to run (the best of several), and the operators that
are left once ONNX Runtime has optimized the graph. ``DequantizeLinear`` is there for comparison.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from quantizers.low_bit.codes import clustered, scaled
from quantizers.low_bit.rows import Rows
from quantizers.low_bit.store import store_weight
from quantizers.low_bit.weight import LowBitWeight

BLOCK = 32
RUNS = 30


def product(weight: np.ndarray) -> ir.Model:
    x = ir.val("x", ir.DataType.FLOAT, [1, len(weight)])
    held = ir.val("w", ir.DataType.FLOAT, weight.shape, const_value=ir.tensor(weight, name="w"))
    node = ir.node("MatMul", [x, held], name="product")
    y = node.outputs[0]
    y.name, y.type, y.shape = "y", ir.TensorType(ir.DataType.FLOAT), ir.Shape([1, len(weight)])
    graph = ir.Graph([x], [y], nodes=[node], initializers=[held], opset_imports={"": 21}, name="g")
    return ir.Model(graph, ir_version=10)


def stored(make: Callable[[np.ndarray], LowBitWeight]) -> Callable[[ir.Model], None]:
    def store(model: ir.Model) -> None:
        value = model.graph.initializers["w"]
        store_weight(model.graph, value, make(value.const_value.numpy()))

    return store


def dequantized(bits: int) -> Callable[[ir.Model], None]:
    def store(model: ir.Model) -> None:
        graph, value = model.graph, model.graph.initializers["w"]
        found = scaled(
            value.const_value.numpy(),
            bits,
            rows=Rows(tuple(value.shape), columns=True),
            block=None if bits == 8 else BLOCK,
        )
        codes, scale = found.codes, found.scale.astype(np.float32).reshape(-1, len(found.codes))
        attributes: dict[str, Any] = {"axis": 1}
        if bits == 4:
            codes, attributes = codes.astype(ml_dtypes.int4), {"axis": 0, "block_size": BLOCK}
        else:
            scale = scale.reshape(-1)
        inputs = []
        for name, array in (("codes", codes), ("scale", scale)):
            tensor = ir.tensor(array, name=name)
            held = ir.val(name, tensor.dtype, array.shape, const_value=tensor)
            graph.register_initializer(held)
            inputs.append(held)
        node = ir.node("DequantizeLinear", inputs, attributes=attributes, name="dequantize")
        node.outputs[0].name = "dequantized"
        value.replace_all_uses_with(node.outputs[0])
        graph.insert_before(next(iter(graph)), node)
        graph.initializers.pop("w")

    return store


def columns(weight: np.ndarray) -> Rows:
    return Rows(weight.shape, columns=True)


FORMS: dict[str, Callable[[ir.Model], None]] = {
    "float32": lambda model: None,
    "int8, scales by the column": stored(lambda w: scaled(w, 8, rows=columns(w))),
    "int4, scales by the block": stored(lambda w: scaled(w, 4, rows=columns(w), block=BLOCK)),
    "16 clusters": stored(lambda w: clustered(w, 16, rows=columns(w))),
    "4 clusters": stored(lambda w: clustered(w, 4, rows=columns(w))),
    "DequantizeLinear, int8": dequantized(8),
    "DequantizeLinear, int4 by the block": dequantized(4),
}


def measure(path: Path, size: int) -> tuple[float, float, Counter[str]]:
    """Milliseconds to load, microseconds to run, and what runs."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    loads, runs = [], []
    for _ in range(3):
        start = time.perf_counter()
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        loads.append(time.perf_counter() - start)
    feed = {"x": np.ones((1, size), np.float32)}
    for _ in range(RUNS):
        start = time.perf_counter()
        session.run(None, feed)
        runs.append(time.perf_counter() - start)
    options.optimized_model_filepath = str(path.with_suffix(".optimized.onnx"))
    ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    left = Counter(node.op_type for node in ir.load(options.optimized_model_filepath).graph)
    return min(loads) * 1e3, min(runs) * 1e6, left


def main() -> None:
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
    weight = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    print(f"ONNX Runtime {ort.__version__}, {size} × {size}\n")
    print("| form | KiB | load ms | run µs | what runs |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, change in FORMS.items():
            model = product(weight)
            change(model)
            path = Path(folder) / "model.onnx"
            ir.save(model, path)
            load, run, left = measure(path, size)
            operators = ", ".join(sorted(left))
            kibibytes = path.stat().st_size / 1024
            print(f"| {name} | {kibibytes:,.0f} | {load:.1f} | {run:.0f} | {operators} |")


if __name__ == "__main__":
    main()
