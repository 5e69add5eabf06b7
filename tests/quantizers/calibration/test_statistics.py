"""Statistics of shards add up, and masks set no scale."""

import numpy as np
import onnx_ir as ir
import pytest

from quantizers import QuantizeOptions, collect_statistics, quantize_model
from runtimes import DataError


def serialized(model: ir.Model) -> bytes:
    return ir.to_proto(model).SerializeToString(deterministic=True)


def test_shards_calibrated_apart_give_the_same_model(residual_model, images, bound) -> None:
    whole = bound(residual_model, image=images)
    parts = [bound(residual_model, image=part) for part in (images[:20], images[20:])]
    first, second = (collect_statistics(residual_model, part) for part in parts)
    merged = first.merge(second)
    assert merged.samples == 64
    together = collect_statistics(residual_model, whole)
    for name in together.observers:
        assert merged.range(name) == together.range(name)
    results = [
        quantize_model(residual_model, whole, statistics=statistics)[0]
        for statistics in (merged, None)
    ]
    assert serialized(results[0]) == serialized(results[1])


def test_statistics_of_another_model_do_not_merge(residual_model, images, bound, graph) -> None:
    other = graph(
        "g (float[n, 4] x, float[4, 4] w) => (float[n, 4] y) { y = MatMul (x, w) }",
        {"w": np.eye(4, dtype=np.float32)},
    )
    one = collect_statistics(residual_model, bound(residual_model, image=images))
    two = collect_statistics(other, bound(other, x=np.ones((40, 4), np.float32)))
    with pytest.raises(DataError, match="not of the same model"):
        one.merge(two)


def test_a_mask_value_in_the_input_sets_no_scale(graph, bound, run, sqnr) -> None:
    """Rows of -4200000 stand for no data; what is computed from them is masked away."""
    rng = np.random.default_rng(0)
    model = graph(
        """g (float[n, 6, 8] x, float[8, 5] w) => (float[n, 6, 5] y)
        <float mask = {-4200000.0}, float nothing = {0.0}, int64[1] last = {-1}>
        { h = MatMul (x, w)
          low = ReduceMin <keepdims = 1> (x, last)
          masked = Equal (low, mask)
          y = Where (masked, nothing, h) }""",
        {"w": rng.normal(size=(8, 5)).astype(np.float32)},
    )
    x = rng.normal(size=(64, 6, 8)).astype(np.float32)
    x[:, 4:] = -4200000.0
    result, report = quantize_model(model, bound(model, x=x), options=QuantizeOptions())
    assert report.kept
    assert sqnr(run(model, x=x), run(result, x=x)) > 30
    assert report.ranges["x"][0] > -10
