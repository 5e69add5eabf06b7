"""Convolutions and transposed convolutions over one to three spatial axes, channels last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quantizers.training.operators.base import Call, Operator
from quantizers.training.operators.windows import Window, window_of
from quantizers.training.tensors import Tensor, sizes_of

_PLANE = 2


def conv(call: Call) -> Sequence[Tensor]:
    """Cross-correlation of [N, C, spatial...] with a kernel [O, C / group, spatial...]."""
    import tensorflow as tf

    x, kernel = call[0].last, call.first(1)
    group = call.attribute("group", 1)
    spatial = len(kernel.shape) - 2
    window = window_of(call, [int(size) for size in kernel.shape[2:]], sizes_of(x)[1:-1])
    weights = tf.transpose(kernel, [*range(2, spatial + 2), 1, 0])
    data = (
        _on_planes(x, weights, window, group)
        if spatial <= _PLANE
        else _grouped(x, weights, window, group, _in_space)
    )
    if call.optional(2) is not None:
        data = data + call.first(2)
    return [Tensor(data, channels_last=True)]


def _on_planes(x: Any, weights: Any, window: Window, group: int) -> Any:
    """One or two spatial axes; one becomes a plane of height 1."""
    import tensorflow as tf

    if len(window.kernel) == _PLANE:
        return _plane(x, weights, window, group)
    flat = Window(
        (1, *window.kernel), (1, *window.strides), (1, *window.dilations), ((0, 0), *window.pads)
    )
    data = _plane(tf.expand_dims(x, 1), tf.expand_dims(weights, 0), flat, group)
    return tf.squeeze(data, 1)


def _plane(x: Any, weights: Any, window: Window, group: int) -> Any:
    channels = int(x.shape[-1])
    if group == channels and group > 1:
        return _depthwise(x, weights, window)
    return _grouped(x, weights, window, group, _conv2d)


def _conv2d(x: Any, weights: Any, window: Window) -> Any:
    import tensorflow as tf

    if max(window.dilations) > 1:  # TensorFlow's own dilation has no gradient on CPUs
        return _with_dilation(x, weights, window)
    if window.is_point:
        return _dense(x, weights[0, 0])
    x, padding = _ready(x, window)
    return tf.nn.conv2d(x, weights, list(window.strides), padding)


def _dense(x: Any, weights: Any) -> Any:
    """A matrix product at every place, which is faster than a convolution with one place."""
    import tensorflow as tf

    sizes = [*sizes_of(x)[:-1], int(weights.shape[-1])]
    return tf.reshape(tf.matmul(tf.reshape(x, [-1, int(x.shape[-1])]), weights), sizes)


def _grouped(x: Any, weights: Any, window: Window, group: int, compute: Any) -> Any:
    """Each group on its own: TensorFlow has no gradient of grouped convolutions on CPUs."""
    import tensorflow as tf

    if group == 1:
        return compute(x, weights, window)
    parts = zip(tf.split(x, group, -1), tf.split(weights, group, -1), strict=True)
    return tf.concat([compute(part, kernel, window) for part, kernel in parts], -1)


def _depthwise(x: Any, weights: Any, window: Window) -> Any:
    """One or more filters for each channel: [h, w, 1, C * m] becomes [h, w, C, m]."""
    import tensorflow as tf

    height, width = window.kernel
    channels = int(x.shape[-1])
    weights = tf.reshape(weights, [height, width, channels, int(weights.shape[-1]) // channels])
    steps, holes = window.strides, window.dilations
    uneven = steps[0] != steps[1] or (max(steps) > 1 and max(holes) > 1)
    if not uneven and max(holes) == 1:
        x, padding = _ready(x, window)
        return tf.nn.depthwise_conv2d(x, weights, [1, *steps, 1], padding)
    x = _padded(x, window)
    strides = (1, 1) if uneven else steps  # what TensorFlow cannot stride over is left out after
    data = tf.nn.depthwise_conv2d(x, weights, [1, *strides, 1], "VALID", dilations=list(holes))
    return data[:, :: steps[0], :: steps[1]] if uneven else data


def _in_space(x: Any, weights: Any, window: Window) -> Any:
    import tensorflow as tf

    if max(window.dilations) > 1:
        return _with_dilation(x, weights, window)
    # The gradient in eager mode needs the name of the format that is the default anyhow.
    x, padding = _ready(x, window)
    return tf.nn.conv3d(x, weights, [1, *window.strides, 1], padding, "NDHWC")


def _with_dilation(x: Any, weights: Any, window: Window) -> Any:
    """Every place, of which the strides leave some out after."""
    import tensorflow as tf

    how = "NDHWC" if len(window.kernel) > _PLANE else "NHWC"
    holes = list(window.dilations)
    data = tf.nn.convolution(_padded(x, window), weights, 1, "VALID", how, holes)
    return data[(slice(None), *(slice(None, None, step) for step in window.strides))]


def _ready(x: Any, window: Window) -> tuple[Any, str]:
    """The input and the padding that TensorFlow should add.

    With numbers of its own for each edge its gradients take twice as long as with SAME.
    """
    if window.is_padded and window.is_same(sizes_of(x)[1:-1]):
        return x, "SAME"
    return _padded(x, window), "VALID"


def _padded(x: Any, window: Window) -> Any:
    import tensorflow as tf

    return tf.pad(x, [(0, 0), *window.pads, (0, 0)]) if window.is_padded else x


def conv_transpose(call: Call) -> Sequence[Tensor]:
    """The gradient of a convolution by its input, with a kernel [C, O / group, spatial...]."""
    import tensorflow as tf

    x, kernel = call[0].last, call.first(1)
    spatial = len(kernel.shape) - 2
    window = window_of(call, [int(size) for size in kernel.shape[2:]])
    if max(window.dilations) > 1:
        kernel = _with_holes(kernel, window)
        window = Window(window.extent, window.strides, (1,) * spatial, window.pads)
    weights = tf.transpose(kernel, [*range(2, spatial + 2), 1, 0])
    data = _grouped_transpose(call, x, weights, window)
    data = _cropped(call, data, x, window)
    if call.optional(2) is not None:
        data = data + call.first(2)
    return [Tensor(data, channels_last=True)]


def _with_holes(kernel: Any, window: Window) -> Any:
    """The kernel with zeros between its places, which is what a dilation means."""
    import tensorflow as tf

    for place, dilation in enumerate(window.dilations):
        axis = place + 2
        parts = tf.unstack(kernel, axis=axis)
        spaced = [parts[0]]
        for part in parts[1:]:
            spaced += [tf.zeros_like(part)] * (dilation - 1) + [part]
        kernel = tf.stack(spaced, axis=axis)
    return kernel


def _grouped_transpose(call: Call, x: Any, weights: Any, window: Window) -> Any:
    import tensorflow as tf

    group = call.attribute("group", 1)
    if group == 1:
        return _whole_transpose(x, weights, window)
    parts = zip(tf.split(x, group, -1), tf.split(weights, group, -1), strict=True)
    return tf.concat([_whole_transpose(part, kernel, window) for part, kernel in parts], -1)


def _whole_transpose(x: Any, weights: Any, window: Window) -> Any:
    """Without any padding: (size - 1) * stride + kernel places on each axis."""
    import tensorflow as tf

    sizes = sizes_of(x)
    spatial = [
        (size - 1) * stride + max(kernel, stride)
        for size, stride, kernel in zip(sizes[1:-1], window.strides, window.kernel, strict=True)
    ]
    shape = tf.stack([sizes[0], *spatial, int(weights.shape[-2])])
    how = {1: "NWC", 2: "NHWC", 3: "NDHWC"}[len(window.kernel)]
    return tf.nn.conv_transpose(x, weights, shape, list(window.strides), "VALID", how)


def _cropped(call: Call, data: Any, x: Any, window: Window) -> Any:
    """What ONNX leaves of it: the pads are cut off, ``output_padding`` is added behind."""
    import tensorflow as tf

    count = len(window.kernel)
    added = call.attribute("output_padding") or [0] * count
    wanted = call.attribute("output_shape")
    how = call.attribute("auto_pad", "NOTSET")
    sizes = sizes_of(x)[1:-1]
    begins, ends, pads = [], [], [(0, 0)]
    for axis in range(count):
        size, stride, kernel = sizes[axis], window.strides[axis], window.kernel[axis]
        whole = (size - 1) * stride + kernel
        before, behind = window.pads[axis]
        if wanted or how in {"SAME_UPPER", "SAME_LOWER"}:
            target = wanted[axis] if wanted else size * stride
            total = whole + added[axis] - target
            before = total // 2 if how == "SAME_UPPER" else total - total // 2
            behind = total - before
        end = whole - behind + added[axis]
        have = (size - 1) * stride + max(kernel, stride)
        pads.append((0, tf.maximum(end - have, 0)))
        begins.append(before)
        ends.append(end)
    data = tf.pad(data, [*pads, (0, 0)])
    slices = tuple(slice(begin, end) for begin, end in zip(begins, ends, strict=True))
    return data[(slice(None), *slices)]


OPERATORS: dict[str, Operator] = {"Conv": conv, "ConvTranspose": conv_transpose}
