"""TimeDistributed as one call on batch × time samples, not one call for each time step.

Keras calls the layer once a step or, where the number of steps is dynamic, in a vectorized map
that tf2onnx does not get right. A layer that treats samples one by one, as Keras' own do at
inference, gives the same in one call.
"""

from __future__ import annotations

from typing import Any

from converter.lowering.markers import Replacement


def time_distributed_replacements() -> list[Replacement]:
    """The method of ``TimeDistributed`` that is replaced while tracing."""
    from keras import layers

    return [Replacement(layers.TimeDistributed, "call", _time_distributed)]


def _time_distributed(
    layer: Any, inputs: Any, training: bool | None = None, mask: Any = None
) -> Any:
    """What ``TimeDistributed.call`` returns: (batch, time, …) of inputs (batch, time, …)."""
    import keras
    import tensorflow as tf

    inner = layer.layer
    if _is_elementwise(inner):
        return inner.call(inputs)
    steps = inputs.shape[1]
    # A layer of the user's own may mix the samples of a batch, and Keras' own loop shows how;
    # for a dynamic number of steps there is no loop that could be exported.
    if _carries_state(inner) or (steps is not None and not _treats_samples_apart(inner)):
        return NotImplemented
    kwargs: dict[str, Any] = {}
    if inner._call_has_mask_arg and mask is not None:
        kwargs["mask"] = _merge_axes(mask)
    if inner._call_has_training_arg:
        kwargs["training"] = training
    output = inner.call(_merge_axes(inputs), **kwargs)
    if keras.tree.is_nested(output):
        return NotImplemented
    batch, *rest = output.shape
    del batch
    if [steps, *rest].count(None) == 0:
        return tf.reshape(output, [-1, steps, *rest])
    shape = tf.concat([tf.shape(inputs)[:2], tf.shape(output)[1:]], axis=0)
    result = tf.reshape(output, shape)
    result.set_shape([inputs.shape[0], steps, *rest])
    return result


def _merge_axes(tensor: Any) -> Any:
    """(batch, time, …) to (batch * time, …)."""
    import tensorflow as tf

    batch, steps, *rest = tensor.shape
    if rest.count(None) == 0:
        merged = tf.reshape(tensor, [-1, *rest])
    else:
        merged = tf.reshape(tensor, tf.concat([[-1], tf.shape(tensor)[2:]], axis=0))
    both = None if batch is None or steps is None else batch * steps
    merged.set_shape([both, *rest])
    return merged


def _is_elementwise(layer: Any) -> bool:
    """Whether the layer looks at no axis but the last, so that steps need not be told apart."""
    import keras

    known = (keras.layers.Dense, keras.layers.Dropout, keras.layers.Embedding, keras.layers.ReLU)
    return type(layer) in known


def _carries_state(layer: Any) -> bool:
    return any(getattr(inner, "stateful", False) for inner in layer._flatten_layers())


def _treats_samples_apart(layer: Any) -> bool:
    """Whether all that runs inside is a layer of Keras' own, none of them code of the user's."""
    import keras

    free = (keras.layers.Lambda, keras.layers.TFSMLayer)
    inner = list(layer._flatten_layers())
    inner += [op for sub in inner for op in getattr(sub, "operations", [])]
    return all(
        isinstance(sub, keras.layers.Layer)
        and type(sub).__module__.startswith("keras.")
        and not isinstance(sub, free)
        for sub in inner
    )
