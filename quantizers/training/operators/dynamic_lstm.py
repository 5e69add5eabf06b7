"""ONNX Runtime's LSTM with weights of bytes and inputs that it rounds as they come.

https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quantizers.training.operators.base import Call, Operator
from quantizers.training.operators.recurrent import KINDS, Products, layer
from quantizers.training.tensors import Tensor

# Where the scales of the weights and of the recurrent weights are; zero points follow.
SCALES = {1: 8, 2: 10}
_LEVELS = 255.0


def dynamic_quantize_lstm(call: Call) -> Sequence[Tensor]:
    """An LSTM whose weights are codes [directions, inputs, 4 * H].

    All inputs are put on one grid, and so is the hidden state at each step.
    """
    import tensorflow as tf

    def products_of(place: int) -> Products:
        weights = _weights(call, 1, place)
        recurrent_weights = _weights(call, 2, place)
        return Products(
            lambda x: tf.tensordot(on_own_grid(x), weights, 1),
            [lambda state: tf.matmul(on_own_grid(state), recurrent_weights)],
        )

    return layer(call, KINDS["LSTM"], products_of)


def _weights(call: Call, place: int, direction: int) -> Any:
    """What the codes stand for; scales are one for all or one for each column."""
    import tensorflow as tf

    codes = tf.cast(call.first(place)[direction], call.dtype)
    scale = call.first(SCALES[place])[direction]
    zero = tf.cast(call.first(SCALES[place] + 1)[direction], call.dtype)
    return (codes - zero) * scale


def on_own_grid(x: Any) -> Any:
    """X rounded to 256 values from its least to its largest, which 0 is one of; straight through.

    ONNX Runtime takes the same grid, from all values that it multiplies at once.
    """
    import tensorflow as tf

    low = tf.minimum(tf.reduce_min(x), 0)
    high = tf.maximum(tf.reduce_max(x), 0)
    scale = tf.where(high > low, (high - low) / _LEVELS, tf.ones_like(high))
    zero = tf.math.rint(tf.clip_by_value(-low / scale, 0, _LEVELS))
    codes = tf.clip_by_value(tf.math.rint(x / scale) + zero, 0, _LEVELS)
    return x + tf.stop_gradient((codes - zero) * scale - x)


OPERATORS: dict[str, Operator] = {"DynamicQuantizeLSTM": dynamic_quantize_lstm}
