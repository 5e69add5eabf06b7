"""Models of float16 are computed in float32, and what stays float is stored in float16."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import CheckerPass, ShapeInferencePass

from quantizers import quantize_model
from quantizers.rewrites.half_precision import WidenHalf, store_half

rng = np.random.default_rng(0)
W = (rng.normal(size=(64, 64)) / 8).astype(np.float16)
B = rng.normal(size=64).astype(np.float16)
X = rng.normal(size=(50, 64)).astype(np.float32)

MODELS = {
    "stored": "(float[n, 64] x, float16[64, 64] w) => (float[n, 64] y) "
    "{ wide = Cast <to = 1> (w) y = MatMul (x, wide) }",
    "inside": "(float[n, 64] x, float16[64, 64] w, float16[64] b) => (float[n, 64] y) "
    "{ h = Cast <to = 10> (x) p = MatMul (h, w) s = Add (p, b) y = Cast <to = 1> (s) }",
    "whole": "(float16[n, 64] x, float16[64, 64] w, float16[64] b) => (float16[n, 64] y) "
    "{ p = MatMul (x, w) y = Add (p, b) }",
    "in a branch": """(float[n, 64] x, float16[64, 64] w, bool c) => (float[n, 64] y)
    { h = Cast <to = 10> (x) p = MatMul (h, w)
      s = If (c) <then_branch = t () => (float16[n, 64] a) { a = Neg (p) },
                  else_branch = e () => (float16[n, 64] b)
                  { k = Constant <value = float16[1] {16384}> () b = Mul (p, k) }>
      y = Cast <to = 1> (s) }""",
}


def half(graph, name: str) -> ir.Model:
    text = MODELS[name]
    weights = {"w": W, **({"b": B} if "b)" in text.split("=>")[0] else {})}
    return ShapeInferencePass()(graph(f"g {text}", weights)).model


def feed(model: ir.Model) -> dict[str, np.ndarray]:
    dtypes = {value.name: value.dtype.numpy() for value in model.graph.inputs}
    arrays = {"x": X, "c": np.array(True)}
    return {name: arrays[name].astype(dtype) for name, dtype in dtypes.items()}


@pytest.mark.parametrize("name", MODELS)
def test_float16_is_computed_in_float32(graph, run, name: str) -> None:
    model = half(graph, name)
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    wide = model.clone()
    assert WidenHalf()(wide).modified
    CheckerPass(full_check=True)(wide)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before
    interface = [value.dtype for value in (*model.graph.inputs, *model.graph.outputs)]
    assert [v.dtype for v in (*wide.graph.inputs, *wide.graph.outputs)] == interface
    edges = {v.name for v in (*wide.graph.inputs, *wide.graph.outputs)}
    inner = [v for n in wide.graph.all_nodes() for v in n.outputs if v.name not in edges]
    assert not any(value.dtype == ir.DataType.FLOAT16 for value in inner)
    found, expected = run(wide, **feed(wide)), run(model, **feed(model))
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(
        found.astype(np.float32), expected.astype(np.float32), rtol=2e-2, atol=2e-2
    )
    assert not WidenHalf()(wide).modified


def test_nodes_called_as_their_outputs_keep_names_of_their_own(graph, run) -> None:
    model = half(graph, "whole")
    for node in model.graph:
        node.name = node.outputs[0].name
    assert WidenHalf()(model).modified
    names = [node.name for node in model.graph]
    assert len(set(names)) == len(names)
    assert run(model, **feed(model)).dtype == np.float16  # ONNX Runtime refuses two of one name


def test_float16_at_the_interface_alone_is_left_alone(graph) -> None:
    model = graph(
        """g (float16[n, 64] x, float[64, 64] w) => (float16[n, 64] y)
        { h = Cast <to = 1> (x) p = MatMul (h, w) y = Cast <to = 10> (p) }""",
        {"w": W.astype(np.float32)},
    )
    assert not WidenHalf()(ShapeInferencePass()(model).model).modified


def test_weights_that_stay_float_are_float16_again(graph, run) -> None:
    model = half(graph, "inside")
    WidenHalf()(model)
    expected = run(model, x=X)
    assert store_half(model) is model
    CheckerPass(full_check=True)(model)
    dtypes = {value.const_value.size: value.const_value.dtype for value in _weights(model)}
    assert dtypes == {64 * 64: ir.DataType.FLOAT16, 64: ir.DataType.FLOAT}  # small: not worth it
    np.testing.assert_array_equal(run(model, x=X), expected)


def test_weights_that_were_changed_stay_float32(graph) -> None:
    model = half(graph, "inside")
    WidenHalf()(model)
    value = model.graph.initializers["w"]
    value.const_value = ir.tensor(W.astype(np.float32) * np.float32(1 / 3), name="w")
    store_half(model)
    assert model.graph.initializers["w"].const_value.dtype == ir.DataType.FLOAT


@pytest.mark.parametrize("name", ["stored", "inside", "whole"])
def test_a_model_of_float16_becomes_int8(graph, bound, run, sqnr, name: str) -> None:
    model = half(graph, name)
    result, report = quantize_model(model, bound(model, **feed(model)))
    assert report.kept
    assert {o.op_type: o.precision for o in report.operators}["MatMul"] == "int8"
    assert report.int8_weight_bytes < 0.6 * report.float_weight_bytes
    onnx.checker.check_model(ir.to_proto(result))
    assert sqnr(run(model, **feed(model)), run(result, **feed(model))) > 30


def test_what_cannot_be_int8_does_not_grow(graph, bound) -> None:
    model = half(graph, "inside")
    result, report = quantize_model(
        model, bound(model, x=X), options=_keep(["node_1", "node_2", "p", "s"], model)
    )
    assert not report.kept
    assert max(v.const_value.nbytes for v in _weights(result)) == W.nbytes


def _keep(names: list[str], model: ir.Model):
    from quantizers import QuantizeOptions
    from quantizers.rewrites.prepare import prepare

    have = {str(node.name) for node in prepare(model).graph if node.op_type == "MatMul"}
    return QuantizeOptions(keep_float=frozenset(have))


def _weights(model: ir.Model) -> list[ir.Value]:
    return list(model.graph.initializers.values())
