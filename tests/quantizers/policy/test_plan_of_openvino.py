"""Where OpenVINO's kernels round, and where Q/DQ stands because of that."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import ShapeInferencePass

from quantizers.calibration.observers import Range
from quantizers.policy.plan import Plan, make_plan
from quantizers.qdq.grids import assign_grids, observed_values
from quantizers.qdq.place import insert_qdq
from quantizers.qdq_form import ONNX_RUNTIME, OPENVINO, QdqForm

Graph = Callable[..., ir.Model]

W = np.ones((4, 4, 1, 1), np.float32)
SLOPE = np.full((4, 1, 1), 0.25, np.float32)


def plan(model: ir.Model, form: QdqForm, keep_float: frozenset[str] = frozenset()) -> Plan:
    return make_plan(ShapeInferencePass()(model).model.graph, keep_float, form)


def placed(model: ir.Model, form: QdqForm) -> list[str]:
    """Names of the values that QuantizeLinear reads."""
    found = plan(model, form)
    ranges = {str(value.name): Range(-1.0, 1.0) for value in observed_values(found)}
    insert_qdq(model.graph, found, assign_grids(found, ranges))
    return [str(n.inputs[0].name) for n in model.graph if n.op_type == "QuantizeLinear"]


@pytest.fixture
def residual(graph: Graph) -> ir.Model:
    return graph(
        """g (float[n, 4, 8, 8] x, float[4, 4, 1, 1] w) => (float[n, 4, 8, 8] y)
        { [one] a = Conv (x, w)
          [two] b = Conv (a, w)
          [sum] s = Add (b, a)
          [last] y = Conv (s, w) }""",
        {"w": W},
    )


@pytest.fixture
def pooled(graph: Graph) -> ir.Model:
    return graph(
        """g (float[n, 4, 8, 8] x, float[4, 4, 1, 1] w, float[4, 1, 1] k) => (float[n, 4, 7, 7] y)
        { [one] a = Conv (x, w)
          [slopes] p = PRelu (a, k)
          [pool] m = MaxPool <kernel_shape = [2, 2]> (p)
          [two] y = Conv (m, w) }""",
        {"w": W, "k": SLOPE},
    )


def test_a_residual_sum_is_added_before_the_kernel_rounds(residual: ir.Model) -> None:
    assert placed(residual.clone(), OPENVINO) == ["x", "a", "s"]
    assert placed(residual.clone(), ONNX_RUNTIME)[:4] == ["x", "a", "b", "s"]


def test_a_result_that_others_read_as_well_is_rounded(graph: Graph) -> None:
    model = graph(
        """g (float[n, 4, 8, 8] x, float[4, 4, 1, 1] w) => (float[n, 4, 8, 8] y)
        { a = Conv (x, w)
          s = Add (a, a)
          y = Conv (s, w) }""",
        {"w": W},
    )
    assert "a" in placed(model, OPENVINO)


def test_slopes_are_computed_in_the_kernel_and_moved_bytes_are_not_rounded_again(
    pooled: ir.Model,
) -> None:
    found = plan(pooled.clone(), OPENVINO)
    assert [unit.name for unit in found.units] == ["one", "pool", "two"]
    assert [node.name for node in found.units[0].absorbed] == ["slopes"]
    after = pooled.clone()
    assert placed(after, OPENVINO) == ["x", "p"]
    assert [node.op_type for node in after.graph].count("PRelu") == 1  # no grid clips for it
    assert "slopes" in plan(pooled.clone(), ONNX_RUNTIME).float_reasons


def test_slopes_that_are_computed_are_no_part_of_a_kernel(graph: Graph) -> None:
    model = graph(
        """g (float[n, 4, 8, 8] x, float[4, 1, 1] k, float[4, 4, 1, 1] w) => (float[n, 4, 8, 8] y)
        { a = Conv (x, w)
          [slopes] y = PRelu (a, k) }""",
        {"w": W},
    )
    assert "slopes" in plan(model, OPENVINO).float_reasons


def test_what_calibration_sees_serves_every_mixture(residual: ir.Model) -> None:
    names = {str(value.name) for value in plan(residual, OPENVINO).possible_values()}
    for kept in ("one", "two", "sum", "last"):
        found = plan(residual, OPENVINO, frozenset({kept}))
        assert {str(value.name) for value in observed_values(found)} <= names
