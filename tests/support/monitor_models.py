"""Small models and samples for the tests of the monitor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import onnx_ir as ir

from runtimes.onnx_graph.values import add_initializer

Array = np.ndarray[Any, np.dtype[Any]]

# 0 to 2 in 255 steps; what is larger comes out as 2.
QUANTIZED = """<ir_version: 8, opset_import: ["": {opset}]>
net (float[N, 4] x) => (float[N, 4] y)
<float scale = {{0.00784313725}}, uint8 zero = {{0}}> {{
    q = QuantizeLinear(x, scale, zero)
    d = DequantizeLinear(q, scale, zero)
    r = Relu(d)
    y = Identity(r)
}}"""
FLOAT = """<ir_version: 8, opset_import: ["": 18]>
net (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }"""


def written(path: Path, text: str) -> Path:
    ir.save(ir.from_proto(onnx.parser.parse_model(text)), path)
    return path


def samples(count: int, seed: int = 0) -> Array:
    """Values between 0 and 1.8, all four columns alike."""
    return np.random.default_rng(seed).uniform(0, 1.8, (count, 4)).astype(np.float32)


def one_node(folder: Path, kind: str, node: str = "y = Identity(x)", table: int = 0) -> Path:
    """A file whose input ``x`` is of ``kind``; ``table``: length of a constant of that name."""
    out = "float" if table else kind.partition("[")[0]
    header = '<ir_version: 8, opset_import: ["": 18]>'
    extra = f", float[{table}] table" if table else ""
    text = f"{header} net ({kind} x{extra}) => ({out}[N, ...] y) {{ {node} }}"
    model = ir.from_proto(onnx.parser.parse_model(text.replace("[N, ...]", _shape(kind))))
    if table:
        (old,) = [value for value in model.graph.inputs if value.name == "table"]
        model.graph.inputs.remove(old)
        old.name = None
        values = np.arange(table, dtype=np.float32)
        old.replace_all_uses_with(add_initializer(model.graph, "table", values))
    path = folder / f"{abs(hash((kind, node)))}.onnx"
    ir.save(model, path)
    return path


def _shape(kind: str) -> str:
    return kind[kind.index("[") :]
