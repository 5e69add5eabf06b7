"""Float pooling in front of INT8 convolutions is left in float by ONNX Runtime too."""

import numpy as np
import onnx_ir as ir
import pytest

from quantizers import QuantizeOptions, quantize_model
from quantizers.policy.plan import Plan
from quantizers.qdq.fusion import examine_fusion
from quantizers.rewrites.float_pooling import ShieldPooling


@pytest.fixture
def pooled(graph) -> ir.Model:
    """A convolution, max pooling, another convolution."""
    rng = np.random.default_rng(0)
    return graph(
        """g (float[n, 3, 12, 12] image, float[8, 3, 3, 3] v, float[8, 8, 3, 3] w)
        => (float[n, 8, 3, 3] y)
        { [first] c = Conv (image, v) r = Relu (c)
          [pool] m = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r)
          [second] y = Conv (m, w) }""",
        {
            "v": rng.normal(size=(8, 3, 3, 3)).astype(np.float32) / 5,
            "w": rng.normal(size=(8, 8, 3, 3)).astype(np.float32) / 8,
        },
    )


def optimized(model: ir.Model) -> dict[str, int]:
    return dict(examine_fusion(model, Plan((), {}, {}, {})).operators)


def test_what_pools_floats_stays_float(pooled, images, bound, run, sqnr) -> None:
    options = QuantizeOptions(keep_float=frozenset({"first"}), equalize=False)
    result, report = quantize_model(pooled, bound(pooled, image=images), options=options)
    reasons = {operator.name: operator.reason for operator in report.operators}
    assert reasons["pool"] == "it pools float values, of which fewer are to be rounded behind"
    assert optimized(result)["QLinearConv"] == 1
    producers = {
        node.inputs[0].producer().op_type
        for node in result.graph
        if node.op_type == "QuantizeLinear" and node.inputs[0].producer()
    }
    assert "Sum" in producers
    reference = run(pooled, image=images)
    assert sqnr(reference, run(result, image=images)) > 30
    assert not ShieldPooling()(result.clone()).modified


def test_what_pools_bytes_is_left_alone(pooled, images, bound) -> None:
    result, report = quantize_model(pooled, bound(pooled, image=images))
    assert {o.name: o.precision for o in report.operators}["pool"] == "int8"
    assert "Sum" not in {node.op_type for node in result.graph}
    assert not ShieldPooling()(result).modified


def test_pooling_that_nothing_rounds_is_left_alone(pooled) -> None:
    assert not ShieldPooling()(pooled).modified
