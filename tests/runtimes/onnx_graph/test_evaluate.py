from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtimes.onnx_graph.evaluate import REFERENCE_LIMIT, evaluate

F = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
WHOLE = np.array([[7, -7, 6], [-6, 3, 1]], np.int32)
CASES = {
    "Identity": ("Identity(a)", [F]),
    "Transpose": ("Transpose(a)", [F]),
    "Transpose perm": ("Transpose<perm = [0, 2, 1]>(a)", [F.reshape(3, 2, 2)]),
    "Reshape": ("Reshape(a, b)", [F, np.array([0, -1, 2])]),
    "Reshape to nothing": ("Reshape<allowzero = 1>(a, b)", [F[:0], np.array([0, 2])]),
    "Squeeze": ("Squeeze(a)", [F.reshape(1, 3, 1, 4)]),
    "Squeeze axes": ("Squeeze(a, b)", [F.reshape(1, 3, 1, 4), np.array([-2])]),
    "Unsqueeze": ("Unsqueeze(a, b)", [F, np.array([0, -1])]),
    "Concat": ("Concat<axis = -1>(a, b)", [F, F]),
    "Gather": ("Gather<axis = 1>(a, b)", [F, np.array([[0, -1]])]),
    "Gather scalar": ("Gather(a, b)", [F, np.array(1)]),
    "Slice": ("Slice(a, b, c)", [F, np.array([1, 0]), np.array([99, -1])]),
    "Slice back": (
        "Slice(a, b, c, d, e)",
        [F, np.array([9]), np.array([-(2**63)]), np.array([1]), np.array([-2])],
    ),
    "Shape": ("Shape<start = -1>(a)", [F]),
    "Div towards zero": ("Div(a, b)", [WHOLE, np.array([2, 2, -4], np.int32)]),
    "Add": ("Add(a, b)", [F, np.float32(2)]),
    "Sqrt": ("Sqrt(a)", [np.abs(F)]),
    "Neg": ("Neg(a)", [WHOLE]),
    "Range": ("Range(a, b, c)", [np.array(1), np.array(9), np.array(3)]),
    "Where": ("Where(a, b, c)", [F > 0, F, -F]),
    "ReduceProd": ("ReduceProd<keepdims = 0>(a, b)", [WHOLE, np.array([1])]),
    "Erf": ("Erf(a)", [F]),
}
LETTERS = "abcdef"


def node_of(graph, expression, arrays):
    kinds = {"f": "float", "i": "int64", "b": "bool"}
    types = [kinds[a.dtype.kind] if a.dtype != np.int32 else "int32" for a in arrays]
    arguments = ", ".join(
        f"{kind}[{', '.join(map(str, array.shape))}] {letter}" if array.ndim else f"{kind} {letter}"
        for kind, array, letter in zip(types, arrays, LETTERS, strict=False)
    )
    out = {"Shape": "int64", "Range": "int64"}.get(expression[:5], types[0])
    out = types[1] if expression.startswith("Where") else out
    model = graph(f"({arguments}) => ({out}[?] y)", f"y = {expression}")
    model.graph.outputs[0].shape = None
    return model


@pytest.mark.parametrize("name", CASES)
def test_as_onnx_runtime_computes_it(graph, run, name):
    expression, arrays = CASES[name]
    arrays = [np.asarray(array) for array in arrays]
    model = node_of(graph, expression, arrays)
    (result,) = evaluate(model.graph[0], arrays, 18)
    (want,) = run(model, dict(zip(LETTERS, arrays, strict=False)))
    assert result.dtype == want.dtype
    assert result.shape == want.shape
    if name in ("Erf", "Sqrt"):  # kernels differ in the last bit
        np.testing.assert_allclose(result, want, rtol=1e-6)
    else:
        np.testing.assert_array_equal(result, want)


NUMBERS = [np.float32, np.float64, np.float16, np.int8, np.int32, np.int64, np.uint8, np.bool_]


@settings(max_examples=100, deadline=None)
@given(
    source=st.sampled_from(NUMBERS),
    target=st.sampled_from(NUMBERS),
    numbers=st.lists(st.integers(-300, 300), min_size=1, max_size=5),
)
def test_casts(run, source, target, numbers):
    array = (np.array(numbers) / 2).astype(source)
    x = ir.val("x", ir.DataType.from_numpy(array.dtype), array.shape)
    to = ir.DataType.from_numpy(np.dtype(target))
    node = ir.node("Cast", [x], {"to": int(to)})
    y = node.outputs[0]
    y.name, y.type = "y", ir.TensorType(to)
    model = ir.Model(
        ir.Graph([x], [y], nodes=[node], opset_imports={"": 18}, name="g"), ir_version=9
    )
    in_range = np.dtype(target).kind in "fb" or (
        np.trunc(array.astype(float)).min() >= np.iinfo(target).min
        and np.trunc(array.astype(float)).max() <= np.iinfo(target).max
    )
    if np.dtype(source).kind == "f" and not in_range:
        # What a machine makes of it is its own choice.
        with pytest.raises(ValueError, match="does not fit"):
            evaluate(node, [array], 18)
        return
    results = evaluate(node, [array], 18)
    np.testing.assert_array_equal(results[0], run(model, {"x": array})[0])


def test_bfloat16_rounds_to_even():
    x = ir.val("x", ir.DataType.FLOAT, [2])
    node = ir.node("Cast", [x], {"to": int(ir.DataType.BFLOAT16)})
    (result,) = evaluate(node, [np.array([1.00390625, 1.01171875], np.float32)], 18)
    assert result.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(result.astype(np.float32), [1.0, 1.015625])


def test_integers_are_not_divided_by_zero():
    x, y = ir.val("x", ir.DataType.INT64, [1]), ir.val("y", ir.DataType.INT64, [1])
    node = ir.node("Div", [x, y])
    node.outputs[0].name = "z"
    ones, zeros = np.ones(1, np.int64), np.zeros(1, np.int64)
    with pytest.raises(ValueError, match="divided by zero"):
        evaluate(node, [ones, zeros], 18)
    np.testing.assert_array_equal(evaluate(node, [zeros, ones], 18)[0], [0])


def test_the_reference_is_not_asked_for_large_tensors():
    size = REFERENCE_LIMIT + 1
    x = ir.val("x", ir.DataType.FLOAT, [size])
    node = ir.node("Erf", [x])
    node.outputs[0].name = "y"
    assert evaluate(node, [np.zeros(size, np.float32)], 18) is None


def test_what_has_no_implementation_is_none():
    x = ir.val("x", ir.DataType.FLOAT, [1])
    node = ir.node("NoSuchOperator", [x])
    node.outputs[0].name = "y"
    assert evaluate(node, [np.zeros(1, np.float32)], 18) is None


@pytest.mark.parametrize(
    ("op", "arrays"),
    [("Reshape", [F, np.array([5, 5])]), ("Gather", [F, np.array([9])]), ("Add", [F, F.T])],
)
def test_inputs_that_do_not_fit_raise(op, arrays):
    values = [ir.val(letter, ir.DataType.FLOAT) for letter in LETTERS[: len(arrays)]]
    with pytest.raises((ValueError, IndexError)):
        evaluate(ir.node(op, values), arrays, 18)
