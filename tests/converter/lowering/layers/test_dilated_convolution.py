"""Dilated and causal convolutions: one Conv, whatever is dynamic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from layer_cases.channels_last import channels_last_twin


def signal(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def one_conv(operators: Any) -> bool:
    moves = {"Transpose", "Unsqueeze", "Squeeze"}
    return operators["Conv"] == 1 and set(operators) <= {"Conv", *moves}


@pytest.mark.sweep(3)
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    "name", ["Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D"]
)
def test_dynamic_sizes(keras: Any, parity: Any, name: str, padding: str, layout: str) -> None:
    rank = int(name[-2])
    arguments: dict[str, Any] = (
        {} if name.startswith("Depthwise") else {"filters": 8}
    )  # Keras takes a side as long for the channels
    layer = getattr(keras.layers, name)(
        kernel_size=3, dilation_rate=2, padding=padding, data_format=layout, **arguments
    )
    sizes, last = (11, 10, 9)[:rank], layout == "channels_last"
    dynamic = [None] * rank
    inputs = keras.Input([*dynamic, 4] if last else [4, *dynamic])
    x = signal(2, *([*sizes, 4] if last else [4, *sizes]))
    model = keras.Model(inputs, layer(inputs))
    reference = None if last else channels_last_twin(keras, layer)
    assert one_conv(parity(model, [[x], [x[:1]]], reference=reference))


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_causal(keras: Any, parity: Any, strides: int, dilation: int, groups: int) -> None:
    if strides > 1 and dilation > 1:
        pytest.skip("Keras refuses strides with dilation")
    layer = keras.layers.Conv1D(
        6, 3, strides=strides, dilation_rate=dilation, groups=groups, padding="causal"
    )
    inputs = keras.Input((None, 4))
    assert one_conv(parity(keras.Model(inputs, layer(inputs)), [[signal(2, 11, 4)]]))


def test_causal_with_activation_and_no_bias(keras: Any, parity: Any) -> None:
    layer = keras.layers.Conv1D(6, 4, padding="causal", use_bias=False, activation="tanh")
    inputs = keras.Input((9, 4))
    assert parity(keras.Model(inputs, layer(inputs)), [[signal(2, 9, 4)]])["Conv"] == 1


@pytest.mark.parametrize("size", [9, 10, 11])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_strides_and_dilation(keras: Any, parity: Any, size: int, padding: str) -> None:
    layer = keras.layers.DepthwiseConv2D(3, strides=2, dilation_rate=3, padding=padding)
    inputs = keras.Input((size, size, 4))
    assert one_conv(parity(keras.Model(inputs, layer(inputs)), [[signal(2, size, size, 4)]]))


def test_a_plain_convolution_stays_keras_own(keras: Any, parity: Any) -> None:
    inputs = keras.Input((None, None, 4))
    layer = keras.layers.Conv2D(6, 3, padding="same", strides=2)
    assert one_conv(parity(keras.Model(inputs, layer(inputs)), [[signal(2, 9, 8, 4)]]))
