"""Layer, RMS, group and unit normalization as the operators that ONNX has for them.

Keras computes them in float32 at least; ONNX Runtime has no such kernels for bfloat16, so that
is cast, and float16 where the operator does not promise float32 inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converter.lowering.builder import Builder
from converter.lowering.markers import Lowering, Marker, Replacement, mark


def normalization_replacements() -> list[Replacement]:
    """The methods of Keras' normalization layers that markers stand in for."""
    from keras import layers

    return [
        Replacement(layers.LayerNormalization, "call", _layer_normalization),
        Replacement(getattr(layers, "RMSNormalization", None), "call", _rms_normalization),
        Replacement(layers.GroupNormalization, "call", _group_normalization),
        Replacement(layers.UnitNormalization, "call", _unit_normalization),
    ]


def normalization_lowerings() -> dict[str, Lowering]:
    """What writes the nodes of these markers."""
    return {
        "layer_normalization": _lower_layer_normalization,
        "rms_normalization": _lower_rms_normalization,
        "group_normalization": _lower_group_normalization,
        "unit_normalization": _lower_unit_normalization,
    }


def _layer_normalization(layer: Any, inputs: Any) -> Any:
    import tensorflow as tf

    axes = _ascending(layer.axis, inputs)
    sizes = [inputs.shape[axis] for axis in axes or ()]
    if axes is None or layer.rms_scaling or None in sizes:
        return NotImplemented
    output = _mark(
        "layer_normalization",
        inputs,
        {"scale": layer.gamma, "bias": layer.beta},
        half=True,
        axes=axes,
        sizes=sizes,
        epsilon=layer.epsilon,
    )
    return output if output is NotImplemented else tf.cast(output, layer.compute_dtype)


def _rms_normalization(layer: Any, x: Any) -> Any:
    axes = _ascending(layer.axis, x)
    # Over several axes Keras broadcasts the scale from the right, over one it must be the last.
    if axes is None or axes != list(range(len(x.shape) - len(axes), len(x.shape))):
        return NotImplemented
    return _mark("rms_normalization", x, {"scale": layer.scale}, axes=axes, epsilon=layer.epsilon)


def _group_normalization(layer: Any, inputs: Any) -> Any:
    import tensorflow as tf

    axis = layer.axis % len(inputs.shape) if len(inputs.shape or ()) > 2 else 0
    if axis == 0 or (layer.axis < -1):  # Keras takes only these for what they say
        return NotImplemented
    output = _mark(
        "group_normalization",
        inputs,
        {"scale": layer.gamma, "bias": layer.beta},
        axis=axis,
        channels=inputs.shape[axis],
        groups=layer.groups,
        epsilon=layer.epsilon,
    )
    return output if output is NotImplemented else tf.cast(output, layer.compute_dtype)


def _unit_normalization(layer: Any, inputs: Any) -> Any:
    axes = _ascending(layer.axis, inputs)
    if axes is None:
        return NotImplemented
    return _mark("unit_normalization", inputs, {}, axes=axes)


def _ascending(axis: Any, tensor: Any) -> list[int] | None:
    """The axes as numbers from the left, or ``None`` where weights would not lie in their order."""
    rank = tensor.shape.rank
    if not rank:
        return None
    axes = [a % rank for a in (axis if isinstance(axis, (list, tuple)) else [axis])]
    return axes if axes == sorted(set(axes)) else None


def _mark(kind: str, x: Any, weights: dict[str, Any], *, half: bool = False, **config: Any) -> Any:
    """Mark a normalization of ``x``; ``half`` says that the operator may work on float16."""
    import keras
    import tensorflow as tf

    dtype = keras.backend.standardize_dtype(x.dtype)
    if dtype not in ("float32", "float16", "bfloat16"):
        return NotImplemented
    working = "float16" if half and dtype == "float16" else "float32"
    inputs = {"x": tf.cast(x, working)}
    for role, weight in weights.items():
        if weight is not None:
            inputs[role] = keras.ops.convert_to_tensor(weight, working)
    (output,) = mark(kind, inputs, [(x.shape.as_list(), working)], **config)
    return tf.cast(output, dtype)


def _lower_layer_normalization(build: Builder, marker: Marker) -> list[str]:
    """``(x - mean) / sqrt(variance + epsilon) * scale + bias`` over ``axes``."""
    x, config = marker.inputs["x"], marker.config
    axes, sizes = config["axes"], config["sizes"]
    rank = len(build.shape(x) or ())
    first = rank - len(axes)
    kept = [axis for axis in range(rank) if axis not in axes]
    order = [*kept, *axes]
    trailing = order == list(range(rank))
    if not trailing:
        x = build.op("Transpose", x, perm=order)
    bias = marker.inputs.get("bias")
    scale = marker.inputs.get("scale")
    if build.opset >= 17:
        scale = scale or build.filled(1, sizes, like=x)
        given = [scale] if bias is None else [scale, bias]
        y = build.op("LayerNormalization", x, *given, axis=first, epsilon=config["epsilon"])
    else:
        centred = build.op("Sub", x, _mean(build, x, range(first, rank)))
        variance = _mean(build, build.op("Mul", centred, centred), range(first, rank))
        y = build.op("Div", centred, _root(build, variance, config["epsilon"]))
        y = y if scale is None else build.op("Mul", y, scale)
        y = y if bias is None else build.op("Add", y, bias)
    if not trailing:
        y = build.op("Transpose", y, perm=[order.index(axis) for axis in range(rank)])
    return [y]


def _lower_rms_normalization(build: Builder, marker: Marker) -> list[str]:
    """``x / sqrt(mean(x²) + epsilon) * scale``, in the form that ONNX Runtime fuses."""
    x, scale = marker.inputs["x"], marker.inputs.get("scale")
    squared = build.op("Pow", x, build.scalar(2, like=x))
    mean = _mean(build, squared, marker.config["axes"])
    y = build.op("Div", x, _root(build, mean, marker.config["epsilon"]))
    return [y if scale is None else build.op("Mul", y, scale)]


def _lower_group_normalization(build: Builder, marker: Marker) -> list[str]:
    """Groups of channels as the channels of an InstanceNormalization, then scale and bias."""
    x, config = marker.inputs["x"], marker.config
    groups, channels, axis = config["groups"], config["channels"], config["axis"]
    shape = build.shape(x) or []
    rank = len(shape)
    order = [0, axis, *(i for i in range(1, rank) if i != axis)]
    first = order == list(range(rank))
    if not first:
        x = build.op("Transpose", x, perm=order)
    ones, zeros = (build.filled(value, [groups], like=x) for value in (1, 0))
    scale, bias = marker.inputs.get("scale"), marker.inputs.get("bias")
    epsilon = config["epsilon"]
    if groups == channels:
        y = build.op("InstanceNormalization", x, scale or ones, bias or zeros, epsilon=epsilon)
    else:
        grouped = build.reshape(x, [0, groups, -1])
        y = build.op("InstanceNormalization", grouped, ones, zeros, epsilon=epsilon)
        spatial = [shape[i] for i in order[2:]]
        if spatial.count(-1) > 1:
            y = build.op("Reshape", y, build.op("Shape", x))
        else:
            y = build.reshape(y, [0, channels, *spatial])
        along = list(range(1, rank - 1))
        y = y if scale is None else build.op("Mul", y, build.unsqueeze(scale, *along))
        y = y if bias is None else build.op("Add", y, build.unsqueeze(bias, *along))
    if not first:
        y = build.op("Transpose", y, perm=[order.index(i) for i in range(rank)])
    return [y]


def _lower_unit_normalization(build: Builder, marker: Marker) -> list[str]:
    """``x / max(norm(x), 1e-12)``, as Keras has it."""
    x = marker.inputs["x"]
    norm = build.reduce("ReduceL2", x, marker.config["axes"], keepdims=True)
    return [build.op("Div", x, build.op("Max", norm, build.scalar(1e-12, like=x)))]


def _mean(build: Builder, x: str, axes: Sequence[int]) -> str:
    return build.reduce("ReduceMean", x, axes, keepdims=True)


def _root(build: Builder, x: str, epsilon: float) -> str:
    return build.op("Sqrt", build.op("Add", x, build.scalar(epsilon, like=x)))
