"""Einsum becomes one MatMul, or a Mul, whatever the order of its labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SIZES = dict(zip("abcdefxy", (2, 3, 4, 5, 2, 3, 3, 2), strict=True))

# Equation, and what is left when every size is static and when none is.
CASES = {
    "ab,bc->ac": ({"MatMul": 1}, {"MatMul": 1}),
    "abc,cd->abd": ({"MatMul": 1}, {"MatMul": 1}),
    "abc,cde->abde": ({"Reshape": 2, "MatMul": 1}, {"Einsum": 1}),
    "abcd,cde->abe": ({"Reshape": 2, "MatMul": 1}, {"Einsum": 1}),
    "aecd,abcd->acbe": ({"Transpose": 2, "MatMul": 1}, {"Transpose": 2, "MatMul": 1}),
    "acbe,aecd->abcd": ({"Transpose": 2, "MatMul": 1}, {"Transpose": 2, "MatMul": 1}),
    "abc,ab->ac": ({"Reshape": 2, "MatMul": 1}, {"Reshape": 2, "MatMul": 1}),
    "ab,ab->a": ({"Reshape": 3, "MatMul": 1}, {"Reshape": 3, "MatMul": 1}),
    "abc,dbe->ade": None,
    "abcde,aebf->adbcf": None,
    "abcd,ebcf->adef": None,
    "ab,ab->ab": ({"Mul": 1}, {"Mul": 1}),
    "ab,cb->abc": None,
    "ab->ba": ({"Transpose": 1}, {"Transpose": 1}),
    "abc->ca": ({"ReduceSum": 1, "Transpose": 1}, {"ReduceSum": 1, "Transpose": 1}),
    "...a,ab->...b": ({"MatMul": 1}, {"MatMul": 1}),
    "a...b,a...c->...bc": None,
    "aab->ab": ({"Einsum": 1}, {"Einsum": 1}),
}


def layer(keras: Any, equation: str) -> Any:
    import tensorflow as tf

    rank = len(equation.split("->")[1].replace("...", "xy"))

    class Einsum(keras.layers.Layer):  # type: ignore[misc]
        def call(self, tensors: Any) -> Any:
            return tf.einsum(equation, *tensors)

        def compute_output_spec(self, tensors: Any) -> Any:
            return keras.KerasTensor((None,) * rank, dtype="float32")

    return Einsum()


def check(keras: Any, parity: Any, equation: str, dynamic: bool) -> Any:
    terms = equation.partition("->")[0].replace("...", "xy").split(",")
    shapes = [[SIZES[label] for label in term] for term in terms]
    tensors = [
        keras.Input(batch_shape=[None] * len(shape) if dynamic else shape) for shape in shapes
    ]
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    return parity(keras.Model(tensors, layer(keras, equation)(tensors)), [arrays])


@pytest.mark.sweep(3)
@pytest.mark.parametrize("equation", CASES)
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.filterwarnings("ignore:The structure of `inputs`:UserWarning")
def test_equations(keras: Any, parity: Any, equation: str, dynamic: bool) -> None:
    operators = check(keras, parity, equation, dynamic)
    expected = CASES[equation]
    if expected is not None:
        assert operators == expected[int(dynamic)]


@st.composite
def equations(draw: st.DrawFn) -> str:
    """Two operands of distinct labels, and any of their labels in the result."""
    left, right = (draw(st.permutations("abcdef"))[: draw(st.integers(1, 4))] for _ in range(2))
    labels = sorted({*left, *right})
    result = draw(st.permutations(labels))[: draw(st.integers(1, len(labels)))]
    return f"{''.join(left)},{''.join(right)}->{''.join(result)}"


@pytest.mark.filterwarnings("ignore:The structure of `inputs`:UserWarning")
@given(equation=equations())
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_equation(keras: Any, parity: Any, equation: str) -> None:
    operators = check(keras, parity, equation, dynamic=False)
    assert "Einsum" not in operators
