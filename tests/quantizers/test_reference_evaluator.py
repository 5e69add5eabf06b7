"""What is quantized runs where the specification is the judge, not only in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from quantizers import QuantizeOptions, quantize_model
from runtimes import Dataset, check

Array = np.ndarray[Any, np.dtype[Any]]
Graph = Callable[..., ir.Model]
Bound = Callable[..., Dataset]

# All that can be INT8 becomes so: nothing is timed.
OPTIONS = QuantizeOptions(measure=False)

TEXT = """g (int64[n, length] tokens, float[200, 16] table, float[2, 96, 16] w,
           float[2, 96, 24] r, float[2, 192] b, float[2, 60, 48] gw, float[2, 60, 20] gr,
           float[40, 4] d, float[4] e) => (float[n, 4] y)
{ found = Gather (table, tokens)
  turned = Transpose <perm = [1, 0, 2]> (found)
  all, h, c = LSTM <direction = "bidirectional", hidden_size = 24> (turned, w, r, b)
  moved = Transpose <perm = [0, 2, 1, 3]> (all)
  flat = Reshape (moved, shape)
  seq, last = GRU <direction = "bidirectional", hidden_size = 20> (flat, gw, gr)
  ends = Transpose <perm = [1, 0, 2]> (last)
  row = Reshape (ends, wide)
  y = Gemm (row, d, e) }"""


def tensor(*shape: int, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    return (2 * rng.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32)


@pytest.mark.parametrize("opset", [13, 18, 21])
def test_recurrent_layers_and_tables(graph: Graph, bound: Bound, opset: int) -> None:
    weights = {
        "table": tensor(200, 16),
        "w": tensor(2, 96, 16, seed=1),
        "r": tensor(2, 96, 24, seed=2),
        "b": tensor(2, 192, seed=3),
        "gw": tensor(2, 60, 48, seed=4),
        "gr": tensor(2, 60, 20, seed=5),
        "d": tensor(40, 4, seed=6),
        "e": tensor(4, seed=7),
        "shape": np.array([0, 0, 48], np.int64),
        "wide": np.array([0, 40], np.int64),
    }
    model = graph(TEXT, weights, opset=opset)
    tokens = np.random.default_rng(0).integers(0, 200, (40, 7))
    found, _ = quantize_model(model, bound(model, tokens=tokens), options=OPTIONS)
    kinds = {node.op_type for node in found.graph}
    assert {"DynamicQuantizeLSTM", "GRU", "DequantizeLinear", "QuantizeLinear"} <= kinds
    report = check(model, found, {"tokens": tokens}, min_sqnr=20, providers=("reference",))
    assert report.passed, report.reason


@pytest.mark.parametrize("opset", [13, 18, 21])
def test_convolutions_and_products(
    residual_model: ir.Model, images: Array, bound: Bound, opset: int
) -> None:
    residual_model.graph.opset_imports[""] = opset
    data = bound(residual_model, image=images)
    found, _ = quantize_model(residual_model, data, options=OPTIONS)
    assert sum(node.op_type == "QuantizeLinear" for node in found.graph) > 3
    report = check(residual_model, found, {"image": images}, min_sqnr=20, providers=("reference",))
    assert report.passed, report.reason
