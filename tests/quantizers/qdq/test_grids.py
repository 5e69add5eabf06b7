"""Which values share a grid."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import ShapeInferencePass

from quantizers.calibration.observers import Range
from quantizers.calibration.scales import QuantizationParameters
from quantizers.policy.plan import make_plan
from quantizers.qdq.grids import assign_grids, observed_values

Graph = Callable[..., ir.Model]
W = np.ones((4, 4, 1, 1), np.float32)
W8 = np.ones((4, 8, 1, 1), np.float32)


def grids(model: ir.Model, **ranges: tuple[float, float]) -> dict[str, QuantizationParameters]:
    plan = make_plan(ShapeInferencePass()(model).model.graph)
    assert {value.name for value in observed_values(plan)} == set(ranges)
    found = assign_grids(plan, {name: Range(*span) for name, span in ranges.items()})
    return {str(value.name): grid for value, grid in found.items()}


def test_moved_values_stay_on_their_grid(graph: Graph) -> None:
    model = graph(
        """g (float[n, 8, 8, 4] x, float[4, 4, 1, 1] w) => (float[n, 4, 4, 4] y)
        { t = Transpose <perm = [0, 3, 1, 2]> (x)
          c = Conv (t, w)
          m = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (c)
          y = Conv (m, w) }""",
        {"w": W},
    )
    found = grids(model, x=(-1, 1), c=(-3, 2), y=(0, 9))
    assert found["x"] == found["t"]
    assert found["c"] == found["m"]
    assert found["c"] != found["y"]


CONCAT = """g (float[n, 4, 8, 8] x, float[4, 4, 1, 1] w, float[4, 8, 1, 1] w8)
    => (float[n, 4, 8, 8] y) <float zero = {{0}}, float six = {{6}}>
    {{ a = Conv (x, w)
       b = Conv (x, w)
       {middle}
       y = Conv (k, w8) }}"""


def test_the_inputs_of_a_concat_take_the_grid_of_its_output(graph: Graph) -> None:
    model = graph(CONCAT.format(middle="k = Concat <axis = 1> (a, b)"), {"w": W, "w8": W8})
    found = grids(model, x=(0, 1), a=(-1, 1), b=(0, 4), k=(-1, 4), y=(0, 1))
    assert found["a"] == found["b"] == found["k"]


def test_a_value_with_other_readers_keeps_its_own_grid(graph: Graph) -> None:
    model = graph(
        CONCAT.format(middle="s = Add (a, b)\n k = Concat <axis = 1> (s, b)"), {"w": W, "w8": W8}
    )
    found = grids(model, x=(0, 1), a=(-1, 1), b=(0, 4), s=(-1, 5), k=(-1, 5), y=(0, 1))
    assert found["s"] == found["k"]
    assert found["b"] != found["k"]


@pytest.mark.parametrize(("low", "shared"), [(0.0, True), (-1.0, False)])
def test_a_relu_in_front_of_a_concat_still_clips(graph: Graph, low: float, shared: bool) -> None:
    model = graph(
        CONCAT.format(middle="r = Relu (a)\n k = Concat <axis = 1> (r, b)"), {"w": W, "w8": W8}
    )
    found = grids(model, x=(0, 1), r=(0, 1), b=(low, 4), k=(low, 4), y=(0, 1))
    assert (found["r"] == found["k"]) is shared
    assert found["r"].zero_point == 0


def test_a_wider_grid_does_not_undo_a_clip(graph: Graph) -> None:
    model = graph(
        CONCAT.format(middle="r = Clip (a, zero, six)\n k = Concat <axis = 1> (r, b)"),
        {"w": W, "w8": W8},
    )
    found = grids(model, x=(0, 1), r=(0, 6), b=(0, 9), k=(0, 9), y=(0, 1))
    assert found["r"].high <= 6 < found["k"].high
