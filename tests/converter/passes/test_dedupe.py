from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from converter.passes.dedupe import DeduplicateInitializers, dedupe, deduplicate
from runtimes.errors import DataError, KilnxError, ModelError

W = np.arange(12, dtype=np.float32).reshape(3, 4)


def three_weights(graph, second, third):
    return graph(
        "(float[N, 3] x) => (float[N, 4] y)",
        "a = MatMul(x, w1) b = MatMul(x, w2) c = MatMul(x, w3) d = Add(a, b) y = Add(c, d)",
        w1=W,
        w2=second,
        w3=third,
    )


def test_equal_tensors_are_stored_once(graph, check_pass):
    model = three_weights(graph, W.copy(), W.copy())
    result = check_pass(DeduplicateInitializers(), model, tolerance=0)
    assert result.modified
    assert list(model.graph.initializers) == ["w1"]


def test_tensors_larger_than_the_ready_pass_looks_at_are_merged(graph):
    big = np.random.default_rng(0).normal(size=(3, 40_000)).astype(np.float32)
    model = graph(
        "(float[N, 3] x) => (float[N, 40000] y)",
        "a = MatMul(x, w1) b = MatMul(x, w2) y = Add(a, b)",
        w1=big,
        w2=big.copy(),
    )
    report = deduplicate(model)
    assert report.merged[0].kept == "w1"
    assert report.merged[0].replaced == ("w2",)
    assert report.saved_bytes == big.nbytes
    assert report.weight_bytes_before - report.weight_bytes_after == big.nbytes
    assert "w1 = w2" in str(report)
    assert report.to_dict()["saved_bytes"] == big.nbytes


def one_bit_off(array):
    array = array.copy()
    array[0, 0] = -0.0
    return array


@pytest.mark.parametrize("other", [W + 1, one_bit_off(W), np.full_like(W, np.nan)])
def test_tensors_that_differ_stay(graph, check_pass, other):
    model = three_weights(graph, other, W * 2)
    assert not check_pass(DeduplicateInitializers(), model).modified
    assert len(model.graph.initializers) == 3


def test_equal_bytes_of_another_type_or_shape_stay(graph, check_pass):
    model = graph(
        "(float[N] x) => (float[N] y)",
        "a = Add(x, f) b = Cast<to = 1>(i) c = Add(a, b) d = Add(c, m) y = Reshape(d, s)",
        f=np.zeros(1, np.float32),
        i=np.zeros(1, np.int32),
        m=np.zeros((1, 1), np.float32),
        s=np.array([-1]),
    )
    assert not check_pass(DeduplicateInitializers(), model).modified


def test_nan_equals_itself_bit_by_bit(graph):
    nan = np.full((3, 4), np.nan, np.float32)
    assert len(deduplicate(three_weights(graph, nan, nan.copy())).merged) == 1


def test_an_initializer_that_is_an_output_or_an_input_keeps_its_name(graph):
    model = graph(
        "(float[N, 3] x, float[3, 4] w1) => (float[N, 4] y, float[3, 4] w2)",
        "a = MatMul(x, w1) b = MatMul(x, w2) y = Add(a, b)",
        w1=W,
        w2=W.copy(),
    )
    assert not deduplicate(model).merged
    assert set(model.graph.initializers) == {"w1", "w2"}


def test_a_subgraph_uses_what_its_parent_holds(graph, check_pass):
    model = graph(
        "(float[N, 3] x, bool c) => (float[N, 4] y)",
        """a = MatMul(x, w1)
        b = If (c) <
          then_branch = t () => (float[N, 4] u) <float[3, 4] w2 = {WS}> { u = MatMul(x, w2) },
          else_branch = e () => (float[N, 4] v) <float[3, 4] w3 = {WS}> { v = MatMul(x, w3) }
        > y = Add(a, b)""".replace("WS", ", ".join(map(str, W.reshape(-1)))),
        w1=W,
    )
    result = check_pass(DeduplicateInitializers(), model)
    assert result.modified
    assert sum(len(g.initializers) for g in model.graphs()) == 1


def test_sibling_subgraphs_do_not_share(graph, check_pass):
    model = graph(
        "(float[N, 3] x, bool c) => (float[N, 4] y)",
        """y = If (c) <
          then_branch = t () => (float[N, 4] u) <float[3, 4] w2 = {WS}> { u = MatMul(x, w2) },
          else_branch = e () => (float[N, 4] v) <float[3, 4] w3 = {WS}> { v = MatMul(x, w3) }
        >""".replace("WS", ", ".join(map(str, W.reshape(-1)))),
    )
    assert not check_pass(DeduplicateInitializers(), model).modified


def test_small_tensors_can_be_left_alone(graph):
    model = three_weights(graph, W.copy(), W.copy())
    assert not DeduplicateInitializers(min_bytes=W.nbytes + 1)(model).modified
    assert repr(DeduplicateInitializers(min_bytes=7)) == "DeduplicateInitializers(min_bytes=7)"


def test_strings_and_packed_integers(graph):
    model = graph(
        "(string[N] x) => (bool[N] y, float[2] z)",
        "a = Equal(x, s1) b = Equal(x, s2) y = And(a, b)"
        "d1 = DequantizeLinear(q1, k) d2 = DequantizeLinear(q2, k) z = Add(d1, d2)",
        opset=21,
        ir_version=10,
        k=np.float32(1),
        q1=np.array([1, 2], np.int8),
        q2=np.array([1, 2], np.int8),
        s1=np.array([1], np.float32),
        s2=np.array([1], np.float32),
    )
    for name in ("s1", "s2"):
        value = model.graph.initializers[name]
        value.const_value = ir.tensor(["ab"], name=name)
        value.type = ir.TensorType(ir.DataType.STRING)
    for name in ("q1", "q2"):
        value = model.graph.initializers[name]
        packed = np.array([0x21], np.uint8)
        value.const_value = ir.PackedTensor(
            packed, ir.DataType.INT4, shape=ir.Shape([2]), name=name
        )
        value.type = ir.TensorType(ir.DataType.INT4)
    assert [(m.kept, m.saved_bytes) for m in deduplicate(model).merged if m.kept == "q1"] == [
        ("q1", 1)
    ]
    assert set(model.graph.initializers) == {"k", "q1", "s1"}


def test_file_to_file(graph, tmp_path, run, random_feed):
    model = three_weights(graph, W.copy(), W + 1)
    source, output = tmp_path / "a.onnx", tmp_path / "b.onnx"
    ir.save(model, source)
    report = dedupe(source, output)
    assert report.weight_bytes_after == 2 * W.nbytes
    smaller = ir.load(output)
    feed = random_feed(model)
    np.testing.assert_array_equal(run(model, feed)[0], run(smaller, feed)[0])
    with pytest.raises(DataError, match="--force"):
        dedupe(source, output)
    dedupe([source], output, force=True)


def test_the_model_that_is_passed_in_stays_as_it_is(graph, tmp_path):
    model = three_weights(graph, W.copy(), W.copy())
    dedupe(model, tmp_path / "b.onnx")
    assert len(model.graph.initializers) == 3


def test_several_models_and_no_model_are_refused(tmp_path):
    with pytest.raises(KilnxError, match="one model, 2 were given"):
        dedupe(["a.onnx", "b.onnx"], tmp_path / "o.onnx")
    with pytest.raises(ModelError, match="no such file"):
        dedupe(tmp_path / "absent.onnx", tmp_path / "o.onnx")
    assert not list(tmp_path.iterdir())
