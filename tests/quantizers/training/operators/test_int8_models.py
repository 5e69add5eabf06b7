"""Models that kilnx quantized, as they train, against ONNX Runtime.

ONNX Runtime computes Q/DQ either as they stand, in floats, or fused into kernels of integers. As
they stand, both compute the same but for the order of sums: a value in the middle of two codes may
take either. The kernels round otherwise than the floats do (QLinearAdd and QLinearMul multiply by
ratios of scales, averages are rounded once more), so that each may be one code off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from random_graphs import image_network, sequence_network
from trainable_checks import values_of

from quantizers import QuantizeOptions, quantize_model
from quantizers.options import with_effort
from quantizers.training.graph import TrainableGraph
from quantizers.training.write import with_values
from runtimes import Dataset
from runtimes.engines.ort import OrtRuntime

Array = np.ndarray[Any, np.dtype[Any]]
Graph = Callable[..., ir.Model]

SCALE, ZERO = np.array(0.05, np.float32), np.array(110, np.uint8)
# What has an INT8 kernel, on a and b of [2, 4, 6, 6] that are on a grid.
OPERATORS = {
    "Conv": "y = Conv <pads = [1, 1, 1, 1]> (a, weight)",
    "depthwise Conv": "y = Conv <group = 4> (a, depthwise)",
    "MatMul": "y = MatMul (a, matrix)",
    "Add": "y = Add (a, b)",
    "Mul": "y = Mul (a, b)",
    "Concat": "y = Concat <axis = 1> (a, b)",
    "AveragePool": "y = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (a)",
    "GlobalAveragePool": "y = GlobalAveragePool (a)",
    "MaxPool": "y = MaxPool <kernel_shape = [2, 2]> (a)",
    "Sigmoid": "y = Sigmoid (a)",
    "LeakyRelu": "y = LeakyRelu <alpha = 0.1> (a)",
    "Softmax": "y = Softmax (a)",
}


@pytest.mark.parametrize("name", OPERATORS)
def test_an_int8_kernel_is_one_code_off_at_most(name: str, graph: Graph) -> None:
    rng = np.random.default_rng(3)
    # Sums of two products of these fit into 16 bits on every CPU.
    small = {
        "weight_codes": rng.integers(-60, 61, (4, 4, 3, 3)).astype(np.int8),
        "depthwise_codes": rng.integers(-60, 61, (4, 1, 3, 3)).astype(np.int8),
        "matrix_codes": rng.integers(-60, 61, (6, 6)).astype(np.int8),
    }
    text = """g (float[2, 4, 6, 6] x0, float[2, 4, 6, 6] x1, float[2] other) => (float z, float w) {
        w = Add (other, other)
        qa = QuantizeLinear (x0, scale, zero) a = DequantizeLinear (qa, scale, zero)
        qb = QuantizeLinear (x1, scale, zero) b = DequantizeLinear (qb, scale, zero)
        weight = DequantizeLinear (weight_codes, fine)
        matrix = DequantizeLinear (matrix_codes, fine)
        depthwise = DequantizeLinear (depthwise_codes, fine)
        BODY
        qy = QuantizeLinear (y, scale, zero) z = DequantizeLinear (qy, scale, zero) }"""
    used = {n: codes for n, codes in small.items() if n.split("_")[0] in OPERATORS[name]}
    lines = text.replace("BODY", OPERATORS[name])
    for missing in small.keys() - used.keys():
        short = missing.split("_")[0]
        lines = lines.replace(f"{short} = DequantizeLinear ({missing}, fine)", "")
    arrays = {"scale": SCALE, "zero": ZERO, "fine": np.array(0.004, np.float32), **used}
    model = graph(lines, {**arrays, "other": np.ones(2, np.float32)}, opset=19)
    feed = {n: rng.normal(size=(2, 4, 6, 6)).astype(np.float32) for n in ("x0", "x1")}
    feed = {n: x for n, x in feed.items() if n in [v.name for v in model.graph.inputs]}
    with OrtRuntime(model, threads=1) as runtime:
        fused = runtime.run(feed)["z"]
    codes = (values_of(model, feed)["z"] - fused) / SCALE
    assert np.abs(codes).max() < 1.01


def image() -> tuple[ir.Model, dict[str, Array]]:
    return image_network(4, 8), {"x": _noise(48, 3, 8, 8)}


def sequence() -> tuple[ir.Model, dict[str, Array]]:
    tokens = np.random.default_rng(2).integers(0, 9, (48, 5))
    return sequence_network(7, 8), {"x": tokens}


def _noise(*shape: int) -> Array:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("make", [image, sequence])
def test_random_networks_compute_what_onnx_runtime_does(
    make: Callable[[], tuple[ir.Model, dict[str, Array]]],
) -> None:
    model, arrays = make()
    check(model, arrays)


def test_a_residual_network_computes_what_onnx_runtime_does(
    residual_model: ir.Model, images: Array
) -> None:
    check(residual_model, {"image": images})


def test_embeddings_lstm_and_gru_compute_what_onnx_runtime_does(graph: Graph) -> None:
    rng = np.random.default_rng(0)

    def tensor(*shape: int) -> Array:
        return (rng.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32)

    model = graph(
        """g (int64[n, length] tokens, float[200, 16] table, float[2, 96, 16] w,
              float[2, 96, 24] r, float[2, 192] b, float[1, 60, 48] gw, float[1, 60, 20] gr)
        => (float[n, 20] y)
        { e = Gather (table, tokens) t = Transpose <perm = [1, 0, 2]> (e)
          [lstm] all, h, c = LSTM <direction = "bidirectional", hidden_size = 24> (t, w, r, b)
          moved = Transpose <perm = [0, 2, 1, 3]> (all)
          flat = Reshape (moved, shape)
          [gru] seq, last = GRU <hidden_size = 20, linear_before_reset = 1> (flat, gw, gr)
          y = Squeeze (last, first) }""",
        {
            **{"table": tensor(200, 16), "w": tensor(2, 96, 16), "r": tensor(2, 96, 24)},
            **{"b": tensor(2, 192), "gw": tensor(1, 60, 48), "gr": tensor(1, 60, 20)},
            **{"shape": np.array([0, 0, 48], np.int64), "first": np.zeros(1, np.int64)},
        },
    )
    quantized = check(model, {"tokens": rng.integers(0, 200, (32, 7))})
    assert "DynamicQuantizeLSTM" in {node.op_type for node in quantized.graph}


def test_a_tied_table_is_one_parameter(graph: Graph) -> None:
    rng = np.random.default_rng(0)
    model = graph(
        """g (int64[n, 6] ids, float[400, 32] table, float[32, 32] inner, float[32] gamma)
        => (float[n, 6, 400] y)
        { a = Gather (table, ids) b = MatMul (a, inner) c = Relu (b) d = Add (a, c)
          e = LayerNormalization (d, gamma) t = Transpose <perm = [1, 0]> (table)
          y = MatMul (e, t) }""",
        {
            "table": rng.normal(size=(400, 32)).astype(np.float32),
            "inner": (rng.normal(size=(32, 32)) / 6).astype(np.float32),
            "gamma": np.ones(32, np.float32),
        },
    )
    quantized = check(model, {"ids": rng.integers(0, 400, (32, 6))})
    tables = [
        parameter
        for parameter in TrainableGraph(quantized).parameters.values()
        if parameter.initial("float32").size == 400 * 32
    ]
    assert len(tables) == 1
    assert {node.op_type for node, _ in tables[0].value.uses()} == {"Gather", "Transpose"}


def check(model: ir.Model, arrays: dict[str, Array]) -> ir.Model:
    """All codes are trained, and what they compute differs from ONNX Runtime by roundings."""
    import tensorflow as tf

    data = Dataset.open(arrays, inputs=TrainableGraph(model).inputs)
    options = with_effort(QuantizeOptions(threads=1), "low")
    quantized, _ = quantize_model(model, data, options=options)
    feed = {name: array[:16] for name, array in arrays.items()}
    graph = TrainableGraph(quantized)
    trained = {name: tf.constant(value) for name, value in graph.initial().items()}
    with tf.GradientTape() as tape:
        tape.watch(trained)
        results = graph.run(trained, feed)
        loss = tf.add_n([tf.reduce_sum(value**2) for value in results.values()])
    gradients = tape.gradient(loss, trained)
    reached = _reached(quantized)
    assert all(gradients[name] is not None for name in reached & trained.keys())
    codes = {value.name for value in quantized.graph.initializers.values() if _holds_codes(value)}
    assert codes
    assert codes <= set(graph.parameters)
    again = with_values(quantized, graph.initial())
    for name in codes:
        before, after = (one.graph.initializers[name].const_value for one in (quantized, again))
        assert before is not None
        assert after is not None
        np.testing.assert_array_equal(before.numpy(), after.numpy())
    wide, plain, fused = (
        _outputs(one, feed, how)
        for one, how in ((model, "all"), (quantized, "basic"), (quantized, "all"))
    )
    for name, value in results.items():
        noise = _rms(fused[name] - wide[name])
        assert noise > 0
        assert _rms(np.asarray(value) - plain[name]) < 0.1 * noise
        assert _rms(np.asarray(value) - fused[name]) < noise
    return quantized


def _holds_codes(value: ir.Value) -> bool:
    """Whether a node reads the initializer as codes: its first input, or weights of an LSTM."""
    places = {"DequantizeLinear": {0}, "DynamicQuantizeLSTM": {1, 2}, "Gather": {0}}
    return (
        value.const_value is not None
        and value.const_value.dtype in {ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT32}
        and any(place in places.get(node.op_type, ()) for node, place in value.uses())
    )


def _reached(model: ir.Model) -> set[str]:
    """What the outputs depend on."""
    left, found = list(model.graph.outputs), set()
    while left:
        value = left.pop()
        if value is not None and value.name not in found:
            found.add(str(value.name))
            producer = value.producer()
            left += [] if producer is None else producer.inputs
    return found


def _outputs(model: ir.Model, feed: dict[str, Array], optimization: Any) -> dict[str, Array]:
    with OrtRuntime(model, threads=1, optimization=optimization) as runtime:
        return runtime.run(feed)


def _rms(array: Array) -> float:
    return float(np.sqrt(np.square(array, dtype=np.float64).mean()))
