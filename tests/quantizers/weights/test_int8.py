"""Weights by the channel and the biases that go with them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quantizers.weights.int8 import (
    BIAS_LEVELS,
    bias_scale,
    quantize_bias,
    quantize_weight,
    weight_scale,
)

weights = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=4), elements=st.floats(-1e6, 1e6, width=32)
)


@given(weights, st.data())
def test_weights_come_back_within_half_a_step(weight: np.ndarray, data: st.DataObject) -> None:
    axis = data.draw(st.one_of(st.none(), st.integers(0, weight.ndim - 1)))
    scale = weight_scale(weight, axis)
    found = quantize_weight(weight, scale, axis)
    assert found.codes.dtype == np.int8
    assert found.codes.min() >= -127
    assert scale.shape == (() if axis is None else (weight.shape[axis],))
    shape = [1] * weight.ndim
    if axis is not None:
        shape[axis] = -1
    error = np.abs(found.values().astype(np.float64) - weight)
    assert (error <= 0.5 * scale.reshape(shape) * (1 + 1e-5)).all()


@given(weights)
def test_the_largest_weight_of_a_channel_gets_the_last_code(weight: np.ndarray) -> None:
    found = quantize_weight(weight, weight_scale(weight, 0), 0)
    for channel, codes in zip(weight, found.codes, strict=True):
        if np.abs(channel).max() > 1e-12:
            assert np.abs(codes.astype(int)).max() == 127


@given(
    hnp.arrays(np.float32, (3, 4), elements=st.floats(-10, 10, width=32)),
    hnp.arrays(np.float32, 3, elements=st.floats(-1e8, 1e8, width=32)),
    st.floats(2.0**-20, 10, width=32),
)
def test_a_bias_always_fits_beside_the_accumulator(
    weight: np.ndarray, bias: np.ndarray, input_scale: float
) -> None:
    scale = weight_scale(weight, 0, bias=bias, input_scale=input_scale)
    step = bias_scale(input_scale, scale)
    assert step.dtype == np.float32
    np.testing.assert_array_equal(step, np.float32(input_scale) * scale)
    codes = quantize_bias(bias, step)
    assert codes.dtype == np.int32
    assert np.abs(codes.astype(np.int64)).max() <= BIAS_LEVELS
    error = np.abs(codes.astype(np.float64) * step - bias)
    assert (error <= 0.5 * step + 1e-6 * np.abs(bias)).all()


def test_a_channel_of_zeros_keeps_its_bias() -> None:
    weight = np.zeros((2, 5), np.float32)
    weight[1] = 0.5
    bias = np.float32([0.123456, 3.0])
    scale = weight_scale(weight, 0, bias=bias, input_scale=0.02)
    step = bias_scale(0.02, scale)
    error = np.abs(quantize_bias(bias, step) * step.astype(np.float64) - bias)
    assert (error < [1e-7, 1e-4]).all()
    assert scale[1] == pytest.approx(0.5 / 127)  # the other channel is left alone


def test_an_unequal_channel_does_not_spoil_the_others() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(4, 9)).astype(np.float32)
    weight[0] *= 1000
    by_channel = quantize_weight(weight, weight_scale(weight, 0), 0).values()
    for_all = quantize_weight(weight, weight_scale(weight, None), None).values()
    assert np.abs(by_channel[1:] - weight[1:]).max() < 0.02
    assert np.abs(for_all[1:] - weight[1:]).max() > 0.5
