"""Recurrent layers and embeddings with weights as bytes."""

import numpy as np
import onnx_ir as ir
import pytest

from quantizers import QuantizeOptions, quantize_model
from quantizers.qdq.dynamic import find_weights_only, place_weights_only
from quantizers.rewrites.prepare import prepare
from quantizers.weights.saturation import CodeRange, largest_pair_sum


def tensor(*shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32)


@pytest.fixture
def language(graph) -> ir.Model:
    """Embedding, bidirectional LSTM over a variable length, GRU."""
    model = graph(
        """g (int64[length, n] tokens, float[200, 16] table, float[2, 96, 16] w,
              float[2, 96, 24] r, float[2, 192] b, float[1, 60, 48] gw, float[1, 60, 20] gr)
        => (float[1, n, 20] last)
        { e = Gather (table, tokens)
          [lstm] all, h, c = LSTM <direction = "bidirectional", hidden_size = 24> (e, w, r, b)
          moved = Transpose <perm = [0, 2, 1, 3]> (all)
          flat = Reshape <allowzero = 0> (moved, shape)
          [gru] seq, last = GRU <hidden_size = 20, linear_before_reset = 1> (flat, gw, gr) }""",
        {
            "table": tensor(200, 16),
            "w": tensor(2, 96, 16, seed=1),
            "r": tensor(2, 96, 24, seed=2),
            "b": tensor(2, 192, seed=3),
            "gw": tensor(1, 60, 48, seed=4),
            "gr": tensor(1, 60, 20, seed=5),
            "shape": np.array([0, 0, 48], np.int64),
        },
    )
    return prepare(model)


@pytest.fixture
def tokens() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (7, 40))


def test_each_takes_the_form_that_onnx_runtime_has(
    language: ir.Model, tokens: np.ndarray, run, sqnr
) -> None:
    reference = run(language, tokens=tokens)
    found = find_weights_only(language.graph)
    assert [(one.op_type, one.form) for one in found] == [
        ("Gather", "int8 weights"),
        ("LSTM", "int8 dynamic"),
        ("GRU", "int8 weights"),
    ]
    place_weights_only(language, found)
    assert sqnr(reference, run(language, tokens=tokens)) > 25
    kinds = [node.op_type for node in language.graph]
    assert "DynamicQuantizeLSTM" in kinds
    assert "LSTM" not in kinds
    large = [
        value.const_value
        for value in language.graph.initializers.values()
        if value.const_value.size > 500
    ]
    assert {tensor.dtype for tensor in large} == {ir.DataType.INT8}


def reach_of_lstm(model: ir.Model) -> float:
    """The largest sum of two products that its codes allow, in units of what 16 bits hold."""
    lstm = next(node for node in model.graph if node.op_type == "DynamicQuantizeLSTM")
    reach = 0.0
    for value in lstm.inputs[1:3]:
        codes = value.const_value.numpy()  # [directions, inputs, 4 * hidden]
        seen = CodeRange(np.zeros(codes.shape[1]), np.full(codes.shape[1], 255.0))
        reach = max(reach, *(largest_pair_sum(one.T, seen).max() for one in codes))
    return reach


@pytest.mark.parametrize("spread", [1.0, 100.0], ids=["a scale a direction", "a scale a row"])
def test_products_of_a_dynamic_lstm_fit_into_16_bits(language: ir.Model, spread: float) -> None:
    weight = language.graph.initializers["w"]
    array = weight.const_value.numpy().copy()
    array[:, ::4] *= spread
    weight.const_value = ir.tensor(array, name="w")
    found = find_weights_only(language.graph)
    full = language.clone()
    assert place_weights_only(full, found, target_cpu="vnni") == {"lstm": 127}
    assert reach_of_lstm(full) > 1  # or the test would show nothing
    levels = place_weights_only(language, found)
    assert 0.95 < reach_of_lstm(language) <= 1  # no more is given up than it takes
    assert 63 <= levels["lstm"] < 127


def test_what_is_kept_in_float_stays(language: ir.Model) -> None:
    assert [one.name for one in find_weights_only(language.graph, {"lstm"})] != []
    assert "lstm" not in {one.name for one in find_weights_only(language.graph, {"lstm"})}


def test_a_table_that_is_a_weight_too_stays_float(graph) -> None:
    model = graph(
        """g (int64[n] i, float[200, 16] table) => (float[n, 200] y)
        { e = Gather (table, i)
          t = Transpose <perm = [1, 0]> (table)
          y = MatMul (e, t) }""",
        {"table": tensor(200, 16)},
    )
    assert find_weights_only(model.graph) == []


def test_rows_of_very_different_size_keep_a_scale_each(graph, run, sqnr) -> None:
    weights = tensor(1, 32, 8)
    weights[:, ::4] *= 100
    model = graph(
        """g (float[s, n, 8] x, float[1, 32, 8] w, float[1, 32, 8] r) => (float[1, n, 8] h)
        { all, h = LSTM <hidden_size = 8> (x, w, r) }""",
        {"w": weights, "r": np.sign(tensor(1, 32, 8, seed=1)) / 3},
    )
    model = prepare(model)
    place_weights_only(model, find_weights_only(model.graph))
    shapes = {
        name: list(value.const_value.shape) for name, value in model.graph.initializers.items()
    }
    assert shapes["w_scale"] == [1, 32]
    assert shapes["r_scale"] == [1]
    # ONNX Runtime reads as many zero points of r as w has.
    assert shapes["r_zero"] == shapes["w_zero"] == [1, 32]
    assert run(model, x=np.ones((3, 2, 8), np.float32)).shape == (1, 2, 8)


def test_a_model_without_static_operators_is_quantized_all_the_same(
    graph, bound, run, sqnr
) -> None:
    model = graph(
        """g (float[n, 6, 8] x, float[1, 128, 8] w, float[1, 128, 32] r) => (float[n, 1, 32] y)
        { t = Transpose <perm = [1, 0, 2]> (x)
          [lstm] all, h = LSTM <hidden_size = 32> (t, w, r)
          y = Transpose <perm = [1, 0, 2]> (h) }""",
        {"w": tensor(1, 128, 8), "r": tensor(1, 128, 32, seed=1)},
    )
    x = np.random.default_rng(0).normal(size=(40, 6, 8)).astype(np.float32)
    result, report = quantize_model(model, bound(model, x=x), options=QuantizeOptions())
    assert report.kept
    precisions = {operator.op_type: operator.precision for operator in report.operators}
    assert precisions["LSTM"] == "int8 dynamic"
    levels = {operator.op_type: operator.weight_levels for operator in report.operators}
    assert levels["LSTM"] < 127
    assert sqnr(run(model, x=x), run(result, x=x)) > 25
    assert report.int8_weight_bytes < 0.35 * report.float_weight_bytes


@pytest.fixture
def two_lookups(graph) -> ir.Model:
    return prepare(
        graph(
            """g (int64[n] i, float[200, 16] table) => (float[n, 16] y)
            { [one] a = Gather (table, i) j = Neg (i) k = Abs (j)
              [two] b = Gather (table, k) y = Add (a, b) }""",
            {"table": tensor(200, 16)},
        )
    )


def test_lookups_in_one_table_are_bytes_together(two_lookups: ir.Model, run, sqnr) -> None:
    i = np.arange(200)
    reference = run(two_lookups, i=i)
    found = find_weights_only(two_lookups.graph)
    assert [one.name for one in found] == ["one", "two"]
    assert all(one.together == {"one", "two"} for one in found)
    place_weights_only(two_lookups, found)
    large = [v for v in two_lookups.graph.initializers.values() if v.const_value.size > 100]
    assert [value.const_value.dtype for value in large] == [ir.DataType.INT8]
    assert sqnr(reference, run(two_lookups, i=i)) > 35


def test_a_lookup_that_is_kept_in_float_keeps_its_table(two_lookups: ir.Model) -> None:
    assert find_weights_only(two_lookups.graph, {"two"}) == []


@pytest.mark.parametrize("layer", ["LSTM", "GRU"])
def test_recurrent_layers_that_share_weights_share_their_bytes(graph, run, sqnr, layer) -> None:
    rows = {"LSTM": 64, "GRU": 48}[layer]
    model = graph(
        f"""g (float[s, n, 16] x, float[1, {rows}, 16] w, float[1, {rows}, 16] r)
        => (float[1, n, 16] h) <int64[1] one = {{1}}>
        {{ all, first = {layer} <hidden_size = 16> (x, w, r)
           again = Squeeze (all, one)
           others, h = {layer} <hidden_size = 16> (again, w, r) }}""",
        {"w": tensor(1, rows, 16), "r": tensor(1, rows, 16, seed=1)},
    )
    x = np.random.default_rng(0).normal(size=(5, 7, 16)).astype(np.float32)
    model = prepare(model)
    reference = run(model, "h", x=x)
    place_weights_only(model, find_weights_only(model.graph))
    sizes = [value.const_value.size for value in model.graph.initializers.values()]
    assert sizes.count(rows * 16) == 2
    assert sqnr(reference, run(model, "h", x=x)) > 30


def test_a_table_of_one_scale_survives_what_onnx_runtime_moves(graph, run, sqnr) -> None:
    """It pushes DequantizeLinear through a Transpose, and needs the type of the codes for that."""
    table = np.random.default_rng(0).uniform(-1, 1, (200, 16)).astype(np.float32)
    model = graph(
        """g (int64[n, 6] i, float[200, 16] table) => (float[6, n, 16] y)
        { e = Gather (table, i)
          t = Transpose <perm = [1, 0, 2]> (e)
          y = Relu (t) }""",
        {"table": table},
    )
    i = np.random.default_rng(1).integers(0, 200, (9, 6))
    reference = run(model, i=i)
    model = prepare(model)
    place_weights_only(model, find_weights_only(model.graph))
    assert {v.const_value.size for v in model.graph.initializers.values()} == {1, table.size}
    assert sqnr(reference, run(model, i=i)) > 40


def test_a_table_of_unequal_columns_keeps_a_scale_each(graph, run) -> None:
    table = tensor(200, 16) * np.geomspace(0.01, 1, 16, dtype=np.float32)
    model = graph(
        "g (int64[n] i, float[200, 16] table) => (float[n, 16] y) { y = Gather (table, i) }",
        {"table": table},
    )
    model = prepare(model)
    place_weights_only(model, find_weights_only(model.graph))
    error = np.abs(run(model, i=np.arange(200)) - table).max(axis=0)
    assert np.all(error <= np.abs(table).max(axis=0) / 253)
