"""Attention without what Keras builds around its masks and its scale.

Keras makes every mask as large as the scores, at run time; a mask broadcasts. It scales the
scores; scaling the query is the same, on a smaller tensor whose projection can take the factor.
"""

from __future__ import annotations

import importlib
from typing import Any

from converter.lowering.markers import Replacement

# What Keras puts in the place of a masked score: the lowest number, but far from overflow.
_MASKED = -0.7 * 3.38953e38


def attention_replacements() -> list[Replacement]:
    """What is replaced while tracing: Keras' attention function and its Softmax over axes."""
    from keras import layers

    backend = importlib.import_module("keras.src.backend.tensorflow.nn")
    return [
        Replacement(backend, "dot_product_attention", _dot_product_attention),
        Replacement(layers.Softmax, "call", _softmax_over_axes),
    ]


def _dot_product_attention(  # noqa: PLR0917 - the signature is Keras' own
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: Any = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> Any:
    """What Keras' ``dot_product_attention`` returns: (batch, time, heads, features).

    Scores are computed in float32, as Keras does.
    """
    import tensorflow as tf

    query, key, value = (tf.convert_to_tensor(tensor) for tensor in (query, key, value))
    same = query.dtype == key.dtype == value.dtype in (tf.float32, tf.float16, tf.bfloat16)
    heads, key_heads = query.shape[2:3], key.shape[2:3]
    known = isinstance(scale, (int, float)) and not flash_attention
    if not same or not known or len(query.shape) != 4 or heads != key_heads:
        return NotImplemented
    if query.dtype == tf.float32:
        scores = tf.einsum("BTNH,BSNH->BNTS", query * tf.constant(scale, tf.float32), key)
    else:
        scores = tf.cast(tf.einsum("BTNH,BSNH->BNTS", query, key), tf.float32) * scale
    if bias is not None:
        scores += tf.cast(bias, scores.dtype)
    if is_causal:
        causal = _causal_mask(scores)
        mask = causal if mask is None else tf.logical_and(mask, causal)
    if mask is not None:
        scores = tf.where(mask, scores, tf.constant(_MASKED, scores.dtype))
    weights = tf.cast(tf.nn.softmax(scores), value.dtype)
    return tf.einsum("BNTS,BSNH->BTNH", weights, value)


def _causal_mask(scores: Any) -> Any:
    """(time, keys), true where the key is not later than the query."""
    import numpy as np
    import tensorflow as tf

    times, keys = scores.shape[2:]
    if times is not None and keys is not None:
        return tf.constant(np.tri(times, keys, dtype=bool))
    shape = tf.shape(scores)
    return tf.range(shape[2])[:, None] >= tf.range(shape[3])[None, :]


def _softmax_over_axes(layer: Any, inputs: Any, mask: Any = None) -> Any:
    """``Softmax.call`` over several axes at once, without a logarithm to undo."""
    import tensorflow as tf

    if not isinstance(layer.axis, (tuple, list)) or len(layer.axis) < 2 or mask is not None:
        return NotImplemented
    axes = list(layer.axis)
    raised = tf.exp(inputs - tf.reduce_max(inputs, axes, keepdims=True))
    return raised / tf.reduce_sum(raised, axes, keepdims=True)
