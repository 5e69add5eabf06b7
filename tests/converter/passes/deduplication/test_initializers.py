from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.passes.deduplication.initializers import DeduplicateInitializers, deduplicate
from converter.passes.deduplication.tensor_views import find_slice, find_view, fingerprint

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
    assert str(report.merged[0]).startswith("w1 = w2")
    assert str(report) == "960,000 → 480,000 bytes of weights"
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


def test_what_sibling_subgraphs_share_moves_to_the_main_graph(graph, check_pass):
    model = graph(
        "(float[N, 3] x, bool c) => (float[N, 4] y)",
        """y = If (c) <
          then_branch = t () => (float[N, 4] u) <float[3, 4] w2 = {WS}> { u = MatMul(x, w2) },
          else_branch = e () => (float[N, 4] v) <float[3, 4] w3 = {WS}> { v = MatMul(x, w3) }
        >""".replace("WS", ", ".join(map(str, W.reshape(-1)))),
    )
    assert check_pass(DeduplicateInitializers(), model).modified
    assert [list(g.initializers) for g in model.graphs()] == [["w2"], [], []]


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
        value.const_value = ir.StringTensor([b"ab"], shape=ir.Shape([1]), name=name)
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


VIEWS = "(float[N, 64] x) => (float[N, 64] y)"
BIG = np.random.default_rng(3).normal(size=(64, 64)).astype(np.float32)


def deduped(graph, run, random_feed, body, signature=VIEWS, **arrays):
    """Deduplicate with views; the results are the same bit by bit, and ORT folds the views."""
    model = graph(signature, body, **arrays)
    before = run(model, random_feed(model))
    report = deduplicate(model, views=True)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    for want, got in zip(before, run(model, random_feed(model)), strict=True):
        np.testing.assert_array_equal(got, want)
    return model, report


def optimized(model, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    data = ir.to_proto(model).SerializeToString()
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in ir.load(tmp_path / "optimized.onnx").graph.all_nodes()]


@pytest.mark.parametrize(
    ("how", "w2"),
    [
        ("Transpose", BIG.T.copy()),
        ("Slice", np.concatenate([BIG, BIG[::-1]], axis=1)),
        ("Slice", np.concatenate([BIG[::-1], BIG], axis=0)),
    ],
)
def test_a_tensor_is_read_out_of_another_and_ort_does_so_at_load(
    graph, run, random_feed, tmp_path, how, w2
):
    body = "a = MatMul(x, w1) b = MatMul(a, w2) y = Identity(b)"
    if w2.shape[0] != 64:
        body = "c = Concat<axis = 1>(x, x) a = MatMul(x, w1) b = MatMul(c, w2) y = Add(a, b)"
    signature = f"(float[N, 64] x) => (float[N, {w2.shape[1]}] y)"
    model, report = deduped(graph, run, random_feed, body, signature, w1=BIG, w2=w2)
    (merge,) = report.merged
    assert (merge.how, merge.saved_bytes) == (how, min(BIG.nbytes, w2.nbytes))
    assert how not in optimized(model, tmp_path)


def test_a_kernel_of_another_order_and_a_reshaped_one(graph, run, random_feed, tmp_path):
    kernel = np.random.default_rng(4).normal(size=(8, 16, 3, 3)).astype(np.float32)
    turned = np.ascontiguousarray(kernel.transpose(1, 0, 2, 3))
    flat = kernel.reshape(8, 144)
    model, report = deduped(
        graph,
        run,
        random_feed,
        """a = Conv(x, k) b = Conv(a, t) c = ReduceMean<keepdims = 0>(b, axes)
        d = MatMul(c, e) y = MatMul(d, f)""",
        "(float[N, 16, 8, 8] x) => (float[N, 144] y)",
        k=kernel,
        t=turned,
        f=flat,
        e=np.random.default_rng(5).normal(size=(16, 8)).astype(np.float32),
        axes=np.array([2, 3]),
    )
    assert {merge.how for merge in report.merged} == {"Transpose", "Reshape"}
    assert report.weight_bytes_before - report.weight_bytes_after >= 2 * kernel.nbytes - 64
    assert not {"Transpose", "Reshape"} & set(optimized(model, tmp_path))


def test_a_tensor_of_one_value_is_made_at_load(graph, run, random_feed, tmp_path):
    body = "a = MatMul(x, w1) y = Mul(a, w2)"
    signature = "(float[64, 64] x) => (float[64, 64] y)"
    ones = np.full((64, 64), 1.5, np.float32)
    model, report = deduped(graph, run, random_feed, body, signature, w1=BIG, w2=ones)
    assert [merge.how for merge in report.merged] == ["ConstantOfShape"]
    assert report.weight_bytes_after < BIG.nbytes + 64
    assert "ConstantOfShape" not in optimized(model, tmp_path)


def test_near_misses_of_views_stay(graph, run, random_feed):
    almost = BIG.T.copy()
    almost[5, 7] = np.nextafter(almost[5, 7], np.float32(9))
    zeros = np.zeros((64, 64), np.float32)
    zeros[63, 63] = -0.0
    body = "a = MatMul(x, w1) b = MatMul(a, w2) c = MatMul(b, w3) y = MatMul(c, w4)"
    small = BIG[:, :65].copy()
    small[0, 0] += 1
    _, report = deduped(graph, run, random_feed, body, w1=BIG, w2=almost, w3=zeros, w4=small)
    assert not report.merged


def test_views_need_a_recent_opset_and_a_tensor_worth_a_node(graph):
    body = "a = MatMul(x, w1) y = MatMul(a, w2)"
    model = graph(VIEWS, body, opset=12, ir_version=7, w1=BIG, w2=BIG.T.copy())
    assert not deduplicate(model, views=True).merged
    model = graph(VIEWS, body, w1=BIG, w2=BIG.T.copy())
    assert not deduplicate(model, views=True, view_from=BIG.nbytes + 1).merged
    assert not deduplicate(model).merged


def test_a_view_of_the_main_graph_serves_a_body(graph, run, random_feed):
    text = """a = MatMul(x, w1) b = If (c) <
          then_branch = t () => (float[N, 64] u) { u = MatMul(a, w2) },
          else_branch = e () => (float[N, 64] v) { v = MatMul(a, w3) }
        > y = Add(a, b)"""
    model, report = deduped(
        graph,
        run,
        random_feed,
        text,
        "(float[N, 64] x, bool c) => (float[N, 64] y)",
        w1=BIG,
        w2=BIG.T.copy(),
        w3=BIG.copy(),
    )
    assert {merge.how for merge in report.merged} == {"Transpose", "equal"}
    assert list(model.graph.initializers) == ["w1"]


def test_the_report_names_the_layers(graph):
    model = three_weights(graph, W.copy(), W + 1)
    for index, node in enumerate(model.graph):
        node.metadata_props["kilnx.layer"] = f"dense_{index}"
    (merge,) = deduplicate(model).merged
    assert merge.layers == ("dense_0", "dense_1")
    assert "in dense_0, dense_1" in str(merge)


def test_external_data_is_compared_where_it_is(graph, tmp_path):
    big = np.random.default_rng(0).normal(size=(2048, 1024)).astype(np.float32)
    body = "a = MatMul(x, w1) b = MatMul(a, w2) c = MatMul(x, w3) d = MatMul(c, w4) y = Add(b, d)"
    other = np.random.default_rng(1).normal(size=big.shape).astype(np.float32)
    model = graph(
        "(float[N, 2048] x) => (float[N, 2048] y)",
        body,
        w1=big,
        w2=big.T.copy(),
        w3=big.copy(),
        w4=other.T.copy(),
    )
    ir.save(model, tmp_path / "m.onnx", external_data="m.data")
    loaded = ir.load(tmp_path / "m.onnx")
    report = deduplicate(loaded, views=True)
    assert {(m.kept, m.replaced, m.how) for m in report.merged} == {
        ("w1", ("w2",), "Transpose"),
        ("w1", ("w3",), "equal"),
    }
    assert all(
        isinstance(v.const_value, ir.ExternalTensor) for v in loaded.graph.initializers.values()
    )


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    dtype=st.sampled_from([np.float32, np.int8, np.float16, np.float64]),
    data=st.data(),
)
def test_every_permutation_and_slice_is_found_and_right(shape, dtype, data):
    array = np.random.default_rng(0).integers(-99, 99, size=shape).astype(dtype)
    source = ir.tensor(array)
    order = data.draw(st.permutations(range(len(shape))))
    turned = np.ascontiguousarray(array.transpose(order))
    view = find_view(source, ir.tensor(turned))
    if view is None:  # the same tensor under another name is no view
        assert turned.shape == array.shape
        np.testing.assert_array_equal(turned, array)
    elif view.operator == "Transpose":
        np.testing.assert_array_equal(array.transpose(view.parameters), turned)
    else:
        np.testing.assert_array_equal(array.reshape(view.parameters), turned)
    assert fingerprint(source) == fingerprint(ir.tensor(turned))
    axis = data.draw(st.integers(0, len(shape) - 1))
    start = data.draw(st.integers(0, shape[axis] - 1))
    stop = data.draw(st.integers(start + 1, shape[axis]))
    part = np.take(array, range(start, stop), axis)
    if part.shape != array.shape:
        found = find_slice(source, ir.tensor(np.ascontiguousarray(part)))
        assert found is not None
        axis, start, stop = found.parameters
        np.testing.assert_array_equal(np.take(array, range(start, stop), axis), part)


@pytest.mark.parametrize("by_content", [True, False])
def test_models_keep_the_same_one_of_the_same_twins(graph, by_content):
    """By content; else the one that each has first."""
    wide = np.arange(64 * 32, dtype=np.float32).reshape(64, 32)
    square = np.random.default_rng(0).normal(size=(48, 48)).astype(np.float32)
    pairs = {"a": wide, "b": wide.T.copy(), "c": square, "d": square.T.copy()}
    kept = []
    for order in ("abcd", "dcba"):
        model = graph("(float[N, 3] x) => (float[N, 3] y)", "y = Relu(x)")
        for name in order:
            tensor = ir.tensor(pairs[name], name=name)
            model.graph.register_initializer(
                ir.val(name, ir.DataType.FLOAT, pairs[name].shape, const_value=tensor)
            )
        report = deduplicate(model, views=True, by_content=by_content)
        assert [merge.how for merge in report.merged] == ["Transpose", "Transpose"]
        kept.append({merge.kept for merge in report.merged})
    assert (kept[0] == kept[1]) == by_content
