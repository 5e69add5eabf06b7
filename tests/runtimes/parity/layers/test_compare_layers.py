"""Comparison layer by layer: the culprit is named, not its victims."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from runtimes import ModelError, check
from runtimes.engines.keras import KerasRuntime
from runtimes.onnx_graph.layer_names import LAYER_KEY
from runtimes.parity.layers.compare_layers import compare_layers
from runtimes.parity.layers.fingerprint import align, fingerprint
from runtimes.parity.layers.walk_keras import walk_keras
from runtimes.parity.layers.walk_onnx import PartedModel, float_values

Graph = Callable[[str], ir.Model]

BODY = """(float[batch, 8] x) => (float[batch, 4] y)
<float[8, 6] w1 = {W1}, float[6] b1 = {B1}, float[6, 4] w2 = {W2}> {{
  [m1] a = MatMul(x, w1)
  [a1] b = Add(a, b1)
  [r1] c = {act}(b)
  [m2] d = MatMul(c, w2)
  [s1] y = Softmax(d)
}}"""
LAYERS = {"m1": "first", "a1": "first", "r1": "first_relu", "m2": "second", "s1": "probabilities"}


def network(graph: Graph, act: str = "Relu", **changed: int) -> ir.Model:
    """Two dense layers; ``w1=k`` adds one to the k-th weight."""
    rng = np.random.default_rng(0)
    weights = {"w1": rng.standard_normal(48), "b1": rng.standard_normal(6)}
    weights["w2"] = rng.standard_normal(24)
    for name, place in changed.items():
        weights[name][place] += 1
    text = BODY.format(act=act, W1="{W1}", B1="{B1}", W2="{W2}")
    for name, values in weights.items():
        text = text.replace("{" + name.upper() + "}", "{" + ", ".join(map(str, values)) + "}")
    model = graph("net " + text)
    for node in model.graph:
        node.metadata_props[LAYER_KEY] = LAYERS[str(node.name)]
    return model


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((10, 8)).astype(np.float32)


def test_a_model_is_itself_layer_by_layer(graph: Graph, x: Any) -> None:
    report = compare_layers(network(graph), network(graph), x)
    assert report.culprit is report.first_jump is None
    assert [one.layer for one in report.layers] == [
        "first", "first", "first_relu", "second", "probabilities",
    ]  # fmt: skip
    assert report.samples == 10
    assert all(one.error == one.isolated_error == 0 for one in report.layers)
    assert "every layer is the reference's" in report.reason
    assert json.dumps(report.to_dict(), allow_nan=False)
    assert report.rows()[0]["SQNR alone"] == "exact"


@pytest.mark.parametrize(
    ("fault", "layer"),
    [({"w1": 5}, "first"), ({"b1": 2}, "first"), ({"w2": 3}, "second"),
     ({"act": "Elu"}, "first_relu")],
)  # fmt: skip
def test_the_culprit_is_named_and_its_victims_are_not(
    graph: Graph, x: Any, fault: Any, layer: str
) -> None:
    report = compare_layers(network(graph), network(graph, **fault), x)
    assert report.culprit == report.first_jump == layer
    assert f"the layer {layer!r}" in report.reason
    (blamed,) = [one for one in report.layers if one.departs]
    assert blamed.layer == layer
    after = report.layers[report.layers.index(blamed) + 1 :]
    assert all(one.error > 1e-4 for one in after)
    assert all(one.isolated_error < 1e-5 for one in after)
    assert report.rows()[report.layers.index(blamed)][""] == "← departs"


def test_check_walks_the_layers_on_request(graph: Graph, x: Any) -> None:
    report = check(network(graph), network(graph, w2=3), x, layers=True)
    assert not report.passed
    assert report.layers is not None
    assert report.layers.culprit == "second"
    assert report.to_dict()["layers"]["culprit"] == "second"
    assert check(network(graph), network(graph), x).layers is None


def test_other_names_are_joined_by_layer_and_axes_are_found(graph: Graph) -> None:
    reference = graph(
        "g (float[n, 2, 5, 7] x) => (float[n, 2] y)"
        "{ [c] a = Relu(x)\n [p] b = GlobalAveragePool(a)\n [f] f = Flatten(b)\n [n] y = Neg(f) }"
    )
    last = graph(
        "h (float[n, 2, 5, 7] x) => (float[n, 2] z) <int64[2] k = {1, 2}>"
        "{ [t] t = Transpose<perm = [0, 2, 3, 1]>(x)\n [c] u = Relu(t)\n"
        "[p] v = ReduceMean<keepdims = 0>(u, k)\n [n] z = Neg(v) }"
    )
    names = {"t": "relu", "c": "relu", "p": "pool", "f": "pool", "n": "neg"}
    for model in (reference, last):
        for node in model.graph:
            node.metadata_props[LAYER_KEY] = names[str(node.name)]
    x = np.random.default_rng(0).standard_normal((9, 2, 5, 7)).astype(np.float32)
    report = compare_layers(reference, last, x)
    assert [(one.layer, one.reference) for one in report.layers] == [
        ("relu", "a"), ("pool", "b"), ("neg", "y"),
    ]  # fmt: skip
    assert report.culprit is None
    assert all(one.relative_error < 1e-6 for one in report.layers)


def test_a_layer_folded_into_another_is_found_behind_it(digits_model: Any, digits: Any) -> None:
    from converter.export.export import export
    from runtimes.keras_models.signature import keras_signature

    model = export(digits_model, keras_signature(digits_model))
    images = digits[1]["image"][:6]
    report = compare_layers(digits_model, model, {"image": images})
    assert report.culprit is None
    assert len(report.layers) > 5
    node = next(n for n in model.graph if n.op_type == "Conv" and len(n.inputs) > 2)
    bias = node.inputs[2]
    assert bias is not None
    assert bias.const_value is not None
    bias.const_value = ir.tensor(bias.const_value.numpy() + np.float32(0.1))
    report = compare_layers(digits_model, model, {"image": images})
    assert report.culprit == node.metadata_props[LAYER_KEY]


def test_keras_layers_are_told_in_order_with_their_paths(digits_model: Any, digits: Any) -> None:
    seen: list[tuple[str, tuple[int, ...]]] = []
    with KerasRuntime(digits_model) as runtime:
        feed = {"image": digits[1]["image"][:2]}
        walk_keras(runtime.source, feed, lambda path, value: seen.append((path, value.shape)))
        expected = runtime.run(feed)["digit"]
    names = [layer.name for layer in digits_model.layers[1:]]
    assert sorted(path for path, _ in seen) == sorted(names)
    assert seen[-1][1] == expected.shape


QUANTIZED = """q (float[n, 4] x) => (float[n, 4] y)
<float[4, 4] w = {1, 2, 3, 4, 4, 3, 2, 1, 1, 3, 2, 4, 2, 2, 1, 1},
 float s = {0.05}, uint8 z = {128}, float t = {STEP}, uint8 o = {0}> {
  [q1] xq = QuantizeLinear(x, s, z)
  [d1] xd = DequantizeLinear(xq, s, z)
  [m1] a = MatMul(xd, w)
  [n1] b = Abs(a)
  [q2] aq = QuantizeLinear(b, t, o)
  [d2] ad = DequantizeLinear(aq, t, o)
  [m2] c = MatMul(ad, w)
  [n2] d = Sqrt(c)
  [m3] y = Neg(d)
}"""
FLOAT = """f (float[n, 4] x) => (float[n, 4] y)
<float[4, 4] w = {1, 2, 3, 4, 4, 3, 2, 1, 1, 3, 2, 4, 2, 2, 1, 1}> {
  a = MatMul(x, w)
  b = Abs(a)
  c = MatMul(b, w)
  d = Sqrt(c)
  y = Neg(d)
}"""


def test_a_quantized_model_is_judged_by_what_stands_out(graph: Graph) -> None:
    x = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
    coarse = compare_layers(graph(FLOAT), graph(QUANTIZED.replace("STEP", "6.0")), x)
    assert coarse.culprit == "n1"
    assert "far below the others" in coarse.reason
    fine = compare_layers(graph(FLOAT), graph(QUANTIZED.replace("STEP", "0.1")), x)
    by_value = {one.value: one for one in fine.layers}
    assert by_value["b"].operators == ("Abs",)
    worst = by_value["b"].isolated_sqnr_db
    assert worst is not None
    assert worst > 30


def test_a_relu_folded_into_quantization_is_no_error(graph: Graph) -> None:
    reference = graph(
        "g (float[n, 4] x) => (float[n, 4] y) { a = Add(x, x)\n r = Relu(a)\n y = Exp(r) }"
    )
    folded = graph(
        "h (float[n, 4] x) => (float[n, 4] y) <float s = {0.03}, uint8 z = {0}>"
        "{ a = Add(x, x)\n q = QuantizeLinear(a, s, z)\n r = DequantizeLinear(q, s, z)\n"
        "y = Exp(r) }"
    )
    x = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
    found = {one.value: one for one in compare_layers(reference, folded, x).layers}
    assert found["a"].error < 0.02
    assert found["y"].isolated_relative_error < 0.015


def test_channels_that_were_scaled_on_purpose_are_no_error(graph: Graph) -> None:
    reference = graph(
        "g (float[n, 2] x) => (float[n, 2] y) <float[2] k = {1, 2}, float[2] j = {3, 5}>"
        "{ a = Mul(x, k)\n y = Mul(a, j) }"
    )
    scaled = graph(
        "h (float[n, 2] x) => (float[n, 2] y) <float[2] k = {8, 1}, float[2] j = {0.375, 10}>"
        "{ a = Mul(x, k)\n y = Mul(a, j) }"
    )
    x = np.random.default_rng(0).standard_normal((12, 2)).astype(np.float32)
    report = compare_layers(reference, scaled, x)
    assert report.culprit is None
    assert [one.operators for one in report.layers] == [("Mul", "Mul")]


def test_a_value_inside_a_layer_is_not_taken_for_its_output(graph: Graph) -> None:
    reference = graph(
        "g (float[n, 2] x) => (float[n, 2] y) { [a] a = Exp(x)\n [b] b = Tanh(a)\n[c] y = Neg(b) }"
    )
    # As where the second half of a separable convolution bears the name of what was folded in.
    other = graph(
        "h (float[n, 2] x) => (float[n, 2] z) <float k = {-3}, float j = {-0.33333333}>"
        "{ [a] e = Exp(x)\n [a2] i = Mul(e, k)\n [b] t = Mul(i, j)\n [b2] u = Tanh(t)\n"
        "[c] z = Neg(u) }"
    )
    for model in (reference, other):
        for node in model.graph:
            node.metadata_props[LAYER_KEY] = {"a": "one", "b": "two", "c": "three"}[
                str(node.name)[0]
            ]
    x = np.random.default_rng(0).standard_normal((9, 2)).astype(np.float32)
    report = compare_layers(reference, other, x)
    assert report.culprit is None
    assert [one.layer for one in report.layers] == ["one + two", "three"]


def test_channels_that_nothing_scales_back_are_one(graph: Graph) -> None:
    reference, wrong = (
        graph(
            f"{name} (float[n, 2] x) => (float[n, 2] y) <float[2] k = {{2, {k}}}>"
            "{ a = Exp(x)\n b = Mul(a, k)\n y = Softmax(b) }"
        )
        for name, k in (("g", 3), ("h", 4))
    )
    report = compare_layers(reference, wrong, np.ones((5, 2), np.float32))
    assert report.culprit == "Mul of b"
    assert report.notes == ()


def test_nothing_is_kept_that_no_later_part_reads(graph: Graph, x: Any) -> None:
    model = network(graph)
    parted = PartedModel(model, float_values(model), threads=1)
    names = [str(part.value.name) for part in parted.parts]
    assert names == ["a", "b", "c", "d", "y"]
    assert parted.last_uses() == [["x"], ["a"], ["b"], ["c"], ["d", "y"]]
    found: dict[str, Any] = {}
    parted.walk({"x": x}, lambda part, value: found.__setitem__(str(part.value.name), value))
    assert sorted(found) == names


def test_an_output_that_is_quantized_and_back_is_one_of_the_parts(graph: Graph, x: Any) -> None:
    model = graph(
        "g (float[batch, 8] x) => (float[batch, 8] y) <float s = {0.05}, uint8 z = {128}> {"
        " [act] a = Tanh(x)\n [q] b = QuantizeLinear(a, s, z)\n [d] y = DequantizeLinear(b, s, z) }"
    )
    parted = PartedModel(model, float_values(model), threads=1)
    seen: dict[str, Any] = {}
    parted.walk({"x": x}, lambda part, found: seen.update({str(part.value.name): found}))
    assert seen.keys() == {"a", "y"}
    np.testing.assert_array_equal(seen["a"], seen["y"])


def test_models_with_nothing_in_common_are_refused(graph: Graph, digits_model: Any) -> None:
    one = graph("g (float[n, 4] x) => (float[n, 4] y) { y = Neg(x) }")
    other = graph(
        "h (float[n, 4] x) => (float[n, 2] z) <int64[2] s = {-1, 2}> { z = Reshape(x, s) }"
    )
    with pytest.raises(ModelError, match="no value of h could be joined with one of g"):
        compare_layers(one, other, np.ones((3, 4), np.float32))
    with pytest.raises(ModelError, match="give one as the candidate"):
        compare_layers(one, digits_model, np.ones((3, 4), np.float32))


def test_fixed_batches_are_filled_up(graph: Graph, x: Any) -> None:
    fixed = network(graph)
    fixed.graph.inputs[0].shape = ir.Shape([4, 8])
    report = compare_layers(fixed, fixed, x)
    assert report.samples == 10
    assert report.culprit is None


def test_fingerprints_move_with_the_axes() -> None:
    value = np.random.default_rng(0).standard_normal((3, 4, 4, 5))
    turned = value.transpose(0, 3, 1, 2)
    found = align(fingerprint(turned), fingerprint(value))
    assert found is not None
    assert found.distance == pytest.approx(0, abs=1e-12)
    np.testing.assert_array_equal(found.to_reference(turned, value.shape), value)
    np.testing.assert_array_equal(found.to_candidate(value, turned.shape), turned)
    squeezed = value[:, :1]
    found = align(fingerprint(squeezed[:, 0]), fingerprint(squeezed))
    assert found is not None
    np.testing.assert_array_equal(found.to_candidate(squeezed, (3, 4, 5)), squeezed[:, 0])
    assert align(fingerprint(value), fingerprint(value[..., :2])) is None


def test_nested_layers_that_were_numbered_anew_are_no_error(graph: Graph) -> None:
    """Keras numbers a block's own layers again on loading, and a block ends in one of them."""
    text = (
        "{{ (float[n, 8] x) => (float[n, 8] {y}) <float k = {{0.999}}, float l = {{1.001}}>"
        "{{ [a] {a} = Mul(x, k)\n [i] {i} = Add({a}, x)\n [b] {b} = Mul({i}, l)\n"
        "[o] {o} = Add({b}, x)\n [c] {y} = Mul({o}, k) }}"
    )[2:]
    one = graph("one " + text.format(a="p", i="q", b="r", o="s", y="y"))
    other = graph("other " + text.format(a="t", i="u", b="v", o="w", y="z"))
    for model, numbers in ((one, ("", "_1", "_2")), (other, ("_1", "_2", "_3"))):
        names = {"i": "block", "o": "block"}
        names |= {key: f"block/scale{number}" for key, number in zip("abc", numbers, strict=True)}
        for node in model.graph:
            node.metadata_props[LAYER_KEY] = names[str(node.name)]
    x = np.random.default_rng(0).standard_normal((9, 8)).astype(np.float32)
    report = compare_layers(one, other, x)
    assert report.culprit is None
    assert all(found.relative_error < 1e-6 for found in report.layers)


def test_scalars_go_in_and_are_compared(graph: Graph, x: Any) -> None:
    text = """scaled (float[batch, 8] x, float s) => (float[batch, 8] y)
    {{ a = Mul (x, s) total = ReduceSum <keepdims = 0> (a) y = {op} (a, total) }}"""
    data = {"x": x, "s": np.full(10, 2, np.float32)}
    same, other = (graph(text.format(op=op)) for op in ("Sub", "Add"))
    assert compare_layers(same, same, data).culprit is None
    report = compare_layers(same, other, data)
    assert [(one.value, one.isolated_error == 0) for one in report.layers] == [
        ("a", True), ("total", True), ("y", False),
    ]  # fmt: skip
