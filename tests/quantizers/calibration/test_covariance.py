"""Covariances of the inputs of kernels."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from quantizers import QuantizeOptions
from quantizers.calibration.covariance import scaled_covariance
from quantizers.policy.plan import make_plan
from quantizers.weights.codes import observe_covariances
from runtimes import Dataset


@pytest.mark.parametrize("grouped", [1, 2])
def test_rescaled_channels_have_the_covariance_of_rescaled_inputs(
    graph: Callable[..., ir.Model], bound: Callable[..., Dataset], grouped: int
) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(6, 4 // grouped, 3, 3)).astype(np.float32)
    model = graph(
        f"""g (float[n, 4, 8, 8] x, float[6, {4 // grouped}, 3, 3] w) => (float[n, 6, 6, 6] y)
        {{ [conv] y = Conv <group = {grouped}> (x, w) }}""",
        {"w": weight},
    )
    images = rng.normal(size=(20, 4, 8, 8)).astype(np.float32)
    factors = np.array([0.5, 3.0, 1.0, 0.01])
    plan, options = make_plan(model.graph), QuantizeOptions()

    def covariance(pixels: np.ndarray) -> np.ndarray:
        return observe_covariances(model, plan, bound(model, x=pixels), options)["conv"]

    wanted = covariance((images * factors[:, None, None]).astype(np.float32))
    found = scaled_covariance(covariance(images), factors)
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_channels_that_do_not_divide_the_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match="2 × 9 inputs are not of 4 channels"):
        scaled_covariance(np.ones((2, 9, 9)), np.ones(4))
