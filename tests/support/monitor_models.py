"""Models of one node, for what their inputs look like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx.parser
import onnx_ir as ir

from runtimes.onnx_graph.values import add_initializer


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
