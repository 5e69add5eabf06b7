"""Transposed convolutions whose output is smaller or greater than the full one, and groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_cases.channels_last import channels_last_twin

from converter.lowering.operators.convolution import Window, pads_of_transposed


def tensor(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.sweep(5)
@pytest.mark.parametrize("layer", ["Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"])
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_dynamic_sizes_leave_one_node(
    keras: Any, parity: Any, layer: str, layout: str, padding: str
) -> None:
    count = int(layer[4])
    shape = [None] * count + [3] if layout == "channels_last" else [3] + [None] * count
    inputs = keras.Input(shape)
    made = getattr(keras.layers, layer)(
        4, 3, strides=2, padding=padding, data_format=layout, use_bias=False
    )
    samples = []
    for size in (5, 4):
        sizes = list(range(size, size - count, -1))
        full = [2, *sizes, 3] if layout == "channels_last" else [2, 3, *sizes]
        samples.append([tensor(*full)])
    model = keras.Model(inputs, made(inputs))
    reference = channels_last_twin(keras, made) if layout == "channels_first" else None
    operators = parity(model, samples, reference=reference)
    assert operators["ConvTranspose"] == 1
    assert not {"Shape", "Slice", "Pad", "Concat"} & set(operators)


def test_output_size_from_another_tensor(keras: Any, parity: Any) -> None:
    import tensorflow as tf

    kernel = tensor(3, 3, 2, 4)

    def like(x: Any, wanted: Any) -> Any:
        return tf.nn.conv2d_transpose(x, kernel, tf.shape(wanted), strides=2, padding="SAME")

    inputs = [keras.Input((None, None, 4)), keras.Input((None, None, 2))]
    layer = keras.layers.Lambda(lambda xs: like(*xs))
    model = keras.Model(inputs, layer(inputs))
    parity(
        model, [[tensor(1, 3, 4, 4), tensor(1, 5, 8, 2)], [tensor(1, 3, 4, 4), tensor(1, 6, 7, 2)]]
    )


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_groups_in_three_dimensions(keras: Any, parity: Any, layout: str, padding: str) -> None:
    shape = (5, 4, 6, 4) if layout == "channels_last" else (4, 5, 4, 6)
    inputs = keras.Input(shape)
    layer = keras.layers.Conv3D(
        8, (3, 2, 3), strides=(2, 1, 2), groups=2, padding=padding, data_format=layout
    )
    parity(keras.Model(inputs, layer(inputs)), [[tensor(2, *shape)]])


@settings(max_examples=200, deadline=None)
@given(
    small=st.integers(1, 12),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 3),
    kernel=st.integers(1, 5),
    offset=st.integers(0, 11),
    same=st.booleans(),
)
def test_known_and_tied_sizes_give_the_same_pads(
    small: int, stride: int, dilation: int, kernel: int, offset: int, same: bool
) -> None:
    """A size that is known only as ``stride * n + offset`` pads as the number itself does."""
    extent = (kernel - 1) * dilation + 1
    first = 0 if same else extent - 1
    # Every output size that a convolution makes ``small`` of, by its place in that range.
    large = stride * (small - 1) + 1 + first + offset % stride
    known = pads_of_transposed(Window(small, large, stride, dilation, kernel), same, None)
    for n in range(3):
        tied = (stride, large - stride * n)
        dynamic = Window(-1, -1, stride, dilation, kernel)
        assert pads_of_transposed(dynamic, same, tied) == known
