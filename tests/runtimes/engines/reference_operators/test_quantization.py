"""Quantization in NumPy, held against ONNX Runtime's kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from single_node import on_both, single_node

from runtimes.engines.reference_operators.quantization import dequantize_linear, quantize_linear

TYPES = st.sampled_from([np.uint8, np.int8])


def parameters(draw: Any, shape: list[int], kind: type) -> tuple[Any, Any, dict[str, int]]:
    """A scale and zero point for all of ``shape``, or for each slice of one of its axes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    axis = draw(st.none() | st.integers(-len(shape), len(shape) - 1))
    count = () if axis is None else (shape[axis],)
    limits = np.iinfo(kind)
    scale = (10 ** rng.uniform(-4, 1, count)).astype(np.float32)
    zero_point = rng.integers(limits.min, limits.max, count, endpoint=True).astype(kind)
    return scale, zero_point, {} if axis is None else {"axis": axis}


@given(st.data())
def test_codes_are_those_of_onnx_runtime(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    scale, zero_point, attributes = parameters(data.draw, shape, data.draw(TYPES))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    # Far beyond the codes on both sides, and halves of steps, which are rounded to even.
    x = (rng.uniform(-2000, 2000, shape) * scale.max()).astype(np.float32)
    x.flat[0] = 0.5 * scale.flat[0]
    opset = data.draw(st.sampled_from([13, 18]))
    arrays = [x, scale, zero_point]
    model = single_node("QuantizeLinear", arrays, attributes, opset=opset)
    (ours,), (theirs,) = on_both(model, x)
    assert ours.dtype == zero_point.dtype
    np.testing.assert_array_equal(ours, theirs)


@given(st.data())
def test_what_codes_stand_for_is_what_onnx_runtime_says(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    kind = data.draw(TYPES)
    scale, zero_point, attributes = parameters(data.draw, shape, kind)
    limits = np.iinfo(kind)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    codes = rng.integers(limits.min, limits.max, shape, endpoint=True).astype(kind)
    opset = data.draw(st.sampled_from([13, 18]))
    model = single_node("DequantizeLinear", [codes, scale, zero_point], attributes, opset=opset)
    (ours,), (theirs,) = on_both(model, codes)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_biases_are_codes_of_32_bits_without_a_zero_point() -> None:
    codes = np.int32([2**31 - 1, -(2**31), 2**24 + 1, -5])
    scale = np.float32([1e-9, 2e-9, 0.5, 3])
    (ours,), (theirs,) = on_both(
        single_node("DequantizeLinear", [codes, scale], {"axis": 0}), codes
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    np.testing.assert_allclose(ours, [2.147, -4.295, 2**23, -15], rtol=1e-3)


def test_opset_10_has_one_scale_and_unsigned_codes_by_default() -> None:
    x = np.float32([[-1, 0.25], [0.75, 1000]])
    model = single_node("QuantizeLinear", [x, np.float32(0.5)], {}, opset=10)
    (ours,), (theirs,) = on_both(model, x)
    np.testing.assert_array_equal(ours, np.uint8([[0, 0], [2, 255]]))
    np.testing.assert_array_equal(ours, theirs)
    codes = np.uint8([[0, 3]])
    model = single_node("DequantizeLinear", [codes, np.float32(0.5)], {}, opset=10)
    (ours,), (theirs,) = on_both(model, codes)
    np.testing.assert_array_equal(ours, [[0, 1.5]])
    np.testing.assert_array_equal(ours, theirs)


@given(st.integers(0, 255), st.floats(2**-10, 10, width=32))
def test_codes_that_are_widened_and_rounded_again_stay(zero_point: int, scale: float) -> None:
    codes = np.arange(256, dtype=np.uint8)
    others = [np.float32(scale), np.uint8(zero_point)]
    (wide,) = dequantize_linear({}, [codes, *others])
    (again,) = quantize_linear({}, [wide, *others])
    np.testing.assert_array_equal(again, codes)


# Bytes of 7 bits: without VNNI, ONNX Runtime adds pairs of products in 16 bits, which saturate.
_LARGEST_CODE = 63


class Lstm:
    """Weights of a DynamicQuantizeLSTM: codes, and a scale a direction or a row."""

    def __init__(self, ways: int, by_row: bool, inputs: int = 5, hidden: int = 6) -> None:
        rng = np.random.default_rng(3)
        shape = (ways, 4 * hidden) if by_row else (ways,)
        self.hidden = hidden
        self.w, self.r = (
            rng.integers(-_LARGEST_CODE, _LARGEST_CODE, (ways, rows, 4 * hidden)).astype(np.int8)
            for rows in (inputs, hidden)
        )
        self.w_scale, self.r_scale = (
            rng.uniform(0.004, 0.012, shape).astype(np.float32) for _ in range(2)
        )
        self.zero = np.zeros(shape, np.int8)
        self.bias = rng.normal(size=(ways, 8 * hidden)).astype(np.float32)

    def arrays(self, x: Any, lengths: Any = None, h: Any = None, c: Any = None) -> list[Any]:
        scales = [self.w_scale, self.zero, self.r_scale, self.zero]
        return [x, self.w, self.r, self.bias, lengths, h, c, None, *scales]

    def in_float(self, x: Any, lengths: Any = None, h: Any = None, c: Any = None) -> list[Any]:
        weights = [
            np.swapaxes(codes * np.broadcast_to(_to_three(scale), codes.shape), 1, 2)
            for codes, scale in ((self.w, self.w_scale), (self.r, self.r_scale))
        ]
        return [x, *(w.astype(np.float32) for w in weights), self.bias, lengths, h, c]


def _to_three(scale: Any) -> Any:
    return scale[:, None, :] if scale.ndim == 2 else scale[:, None, None]


@pytest.mark.parametrize("by_row", [False, True])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_one_step_of_a_dynamic_lstm_is_onnx_runtimes(direction: str, by_row: bool) -> None:
    """X and the hidden state are given, so both round the same numbers: nothing but float error.

    Outliers make the steps coarse: without the rounding, results would be far off.
    """
    ways = 1 + (direction == "bidirectional")
    layer = Lstm(ways, by_row)
    rng = np.random.default_rng(4)
    x = rng.normal(size=(1, 3, 5)).astype(np.float32)
    h, c = (rng.normal(size=(ways, 3, 6)).astype(np.float32) for _ in range(2))
    x[0, 0, 0], h[0, 1, 2], h[-1, 2, 0] = 30, -25, 25
    attributes = {"hidden_size": 6, "direction": direction}
    outputs = ("y", "y_h", "y_c")
    model = single_node(
        "DynamicQuantizeLSTM",
        layer.arrays(x, h=h, c=c),
        attributes,
        outputs,
        domain="com.microsoft",
    )
    ours, theirs = on_both(model, x)
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    _, exact = on_both(single_node("LSTM", layer.in_float(x, h=h, c=c), attributes, outputs), x)
    assert np.abs(exact[2] - theirs[2]).max() > 5e-3


@pytest.mark.parametrize("lengths", [None, [7, 3, 5, 1]])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_a_dynamic_lstm_over_time_is_onnx_runtimes(
    direction: str, lengths: list[int] | None
) -> None:
    """Within what one hidden value can do that is rounded to the next code.

    ONNX Runtime approximates its activations to about 1e-6, so a value near the middle of two
    codes may be rounded the other way: it moves by a step of at most 2/255 (states are within
    -1 and 1), and a gate by that times the largest weight. Activations have slopes of at most 1.
    """
    ways = 1 + (direction == "bidirectional")
    layer = Lstm(ways, by_row=True)
    x = np.random.default_rng(5).normal(size=(7, 4, 5)).astype(np.float32)
    model = single_node(
        "DynamicQuantizeLSTM",
        layer.arrays(x, lengths and np.int32(lengths)),
        {"hidden_size": 6, "direction": direction},
        ("y", "y_h", "y_c"),
        domain="com.microsoft",
    )
    ours, theirs = on_both(model, x)
    tolerance = 2 / 255 * _LARGEST_CODE * float(layer.r_scale.max())
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)
    assert np.abs(theirs[0]).max() > 20 * tolerance
