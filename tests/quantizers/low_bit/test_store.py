"""Weights as codes in a graph: ONNX Runtime computes them when it loads it."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from quantizers.low_bit.codes import clustered, clustered_codes, scaled
from quantizers.low_bit.rows import Rows
from quantizers.low_bit.store import store_weight
from quantizers.low_bit.weight import LowBitWeight
from runtimes.engines.ort import OrtRuntime

RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(33, 7)).astype(np.float32)
COLUMNS = Rows(WEIGHT.shape, columns=True)

FORMS = {
    "int8": lambda: scaled(WEIGHT, 8, rows=COLUMNS),
    "int8 blocks": lambda: scaled(WEIGHT, 8, rows=COLUMNS, block=11),
    "int4": lambda: scaled(WEIGHT, 4, rows=COLUMNS),
    "int4 blocks": lambda: scaled(WEIGHT, 4, rows=COLUMNS, block=11),
    "int2": lambda: scaled(WEIGHT, 2),
    "16 clusters": lambda: clustered(WEIGHT, 16, rows=COLUMNS),
    "16 clusters alone": lambda: clustered(WEIGHT, 16, per_row=False),
    "4 clusters": lambda: clustered(WEIGHT, 4, rows=COLUMNS),
}


def dense(text: str = "dense (float[N, 33] x) => (float[N, 7] y) { y = MatMul(x, w) }") -> ir.Model:
    header = '<ir_version: 9, opset_import: ["" : 13]>'
    return ir.from_onnx_text(f"{header} {text}", initializers=[ir.tensor(WEIGHT, name="w")])


def optimized(model: ir.Model, folder: Path) -> Counter[str]:
    """The operators that ONNX Runtime runs."""
    path = folder / "optimized.onnx"
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(path)
    ir.save(model, folder / "model.onnx")
    ort.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in ir.load(path).graph)


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_left_of_it_when_the_file_is_loaded(form: str, tmp_path: Path) -> None:
    model, stored = dense(), FORMS[form]()
    before = optimized(model, tmp_path)
    found = store_weight(model.graph, model.graph.initializers["w"], stored)
    assert found.name == "w"
    assert "w" not in model.graph.initializers
    assert optimized(model, tmp_path) == before
    samples = RNG.normal(size=(3, 33)).astype(np.float32)
    with OrtRuntime(model) as runtime:
        np.testing.assert_allclose(
            runtime.run({"x": samples})["y"], samples @ stored.values(), rtol=1e-4, atol=1e-4
        )


def test_int8_weights_still_fuse(tmp_path: Path) -> None:
    codes = RNG.integers(-60, 60, size=WEIGHT.shape).astype(np.int8)
    text = """
        dense (float[N, 33] x) => (float[N, 7] y)
        <float s = {0.05}, uint8 z = {128}> {
            q = QuantizeLinear(x, s, z)
            d = DequantizeLinear(q, s, z)
            f = DequantizeLinear<axis = 1>(w, sw, zw)
            y = MatMul(d, f)
        }"""
    model = dense(text)
    graph = model.graph
    zeros, scales = np.zeros(7, np.int8), np.full(7, 0.01, np.float32)
    for name, array in (("w", codes), ("sw", scales), ("zw", zeros)):
        graph.initializers.pop(name, None)
        value = next(v for node in graph for v in node.inputs if v is not None and v.name == name)
        value.const_value = ir.tensor(array, name=name)
        graph.register_initializer(value)
    before = optimized(model, tmp_path)
    assert "MatMul" not in before
    stored = clustered_codes(codes, 16, rows=COLUMNS)
    store_weight(graph, graph.initializers["w"], stored)
    assert optimized(model, tmp_path) == before


def test_what_is_equal_is_stored_once() -> None:
    text = """dense (float[N, 33] x) => (float[N, 7] y, float[N, 7] z) {
        y = MatMul(x, w)
        z = MatMul(x, v)
    }"""
    model = dense(text)
    graph = model.graph
    value = next(v for node in graph for v in node.inputs if v is not None and v.name == "v")
    value.const_value = ir.tensor(WEIGHT + 1, name="v")
    graph.register_initializer(value)
    for name in ("w", "v"):
        store_weight(graph, graph.initializers[name], clustered(WEIGHT, 16, rows=COLUMNS))
    tables = [v for v in graph.initializers.values() if v.const_value.shape == (256, 2)]
    assert len(tables) == 1
    assert len({v.name for v in graph.initializers.values()}) == len(graph.initializers)


def test_names_inside_a_loop_stay_their_own() -> None:
    text = """dense (float[N, 33] x, bool c) => (float[N, 7] y) {
        y = If(c) <
            then_branch = a () => (float[N, 7] k) { k = MatMul(x, w) },
            else_branch = b () => (float[N, 7] k_1) { k_1 = MatMul(x, w) }
        >
    }"""
    model = dense(text)
    stored = scaled(WEIGHT, 4, rows=COLUMNS)
    store_weight(model.graph, model.graph.initializers["w"], stored)
    samples = RNG.normal(size=(3, 33)).astype(np.float32)
    with OrtRuntime(model) as runtime:
        found = runtime.run({"x": samples, "c": np.array(True)})["y"]
    np.testing.assert_allclose(found, samples @ stored.values(), rtol=1e-4, atol=1e-4)


def test_an_output_is_refused() -> None:
    model = dense()
    value = model.graph.initializers["w"]
    model.graph.outputs.append(value)
    stored = LowBitWeight(np.zeros((33, 7), np.int8), 8, None, None, (33, 7))
    with pytest.raises(ValueError, match="output"):
        store_weight(model.graph, value, stored)
