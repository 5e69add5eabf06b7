"""Operators in double precision that ONNX Runtime has in single precision only.

Each takes the node's attributes and its inputs as float64 arrays (None where an optional input is
left out) and gives the outputs. Definitions: https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from runtimes.base import Array
from runtimes.engines.reference_operators.recurrent import gru, lstm, rnn
from runtimes.onnx_graph.windows import windows

Attributes = Mapping[str, Any]
Kernel = Callable[[Attributes, Sequence[Any]], tuple[Array, ...]]


def conv(attributes: Attributes, inputs: Sequence[Any]) -> tuple[Array, ...]:
    """Convolution over any number of spatial axes, sample by sample to bound the memory."""
    x, weights = inputs[0], inputs[1]
    bias = inputs[2] if len(inputs) > 2 else None
    kernel = weights.shape[2:]
    groups = int(attributes.get("group", 1))
    strides, dilations, pads = _window(attributes, x.shape[2:], kernel)
    spatial = len(kernel)
    samples = []
    for sample in x:
        views = windows(_padded(sample, pads, 0.0), kernel, strides, dilations)
        if groups == len(sample) == len(weights):  # depthwise: no channel is summed over
            places = [0, *range(1, spatial + 1)]
            taps = [10 + axis for axis in range(spatial)]
            one = np.einsum(views, [*places, *taps], weights[:, 0], [0, *taps], places)
        else:
            axes = [0, *range(1 + spatial, 1 + 2 * spatial)]
            parts = zip(np.split(views, groups), np.split(weights, groups), strict=True)
            one = np.concatenate(
                [np.tensordot(w, v, axes=(range(1, 2 + spatial), axes)) for v, w in parts]
            )
        samples.append(one)
    y = np.stack(samples) if samples else np.zeros((0, len(weights)))
    if bias is not None:
        y += bias.reshape(-1, *[1] * spatial)
    return (y,)


def average_pool(attributes: Attributes, inputs: Sequence[Any]) -> tuple[Array, ...]:
    """Mean over windows; padding counts with ``count_include_pad`` only."""
    (x,) = inputs
    kernel = tuple(attributes["kernel_shape"])
    strides, dilations, pads = _window(attributes, x.shape[2:], kernel)
    beyond = [0] * len(kernel)
    if attributes.get("ceil_mode", 0):
        for axis, size in enumerate(x.shape[2:]):
            span = size + pads[axis][0] + pads[axis][1] - (kernel[axis] - 1) * dilations[axis] - 1
            count = math.ceil(span / strides[axis]) + 1
            if (count - 1) * strides[axis] >= size + pads[axis][0]:
                count -= 1  # a window may not begin in the padding behind
            beyond[axis] = max(0, (count - 1) * strides[axis] - span)
    inside = np.ones(x.shape[2:])
    if attributes.get("count_include_pad", 0):
        inside = _padded(inside[None], pads, 1.0)[0]
        outer = [(0, more) for more in beyond]
    else:
        outer = [(low, high + more) for (low, high), more in zip(pads, beyond, strict=True)]
    counted = windows(_padded(inside[None], outer, 0.0), kernel, strides, dilations)
    wide = [(low, high + more) for (low, high), more in zip(pads, beyond, strict=True)]
    axes = tuple(range(-len(kernel), 0))
    sums = [windows(_padded(s, wide, 0.0), kernel, strides, dilations).sum(axis=axes) for s in x]
    return (np.stack(sums) / counted.sum(axis=axes),)


def global_average_pool(attributes: Attributes, inputs: Sequence[Any]) -> tuple[Array, ...]:
    """Mean over all spatial axes."""
    (x,) = inputs
    return (x.mean(axis=tuple(range(2, x.ndim)), keepdims=True),)


def global_max_pool(attributes: Attributes, inputs: Sequence[Any]) -> tuple[Array, ...]:
    """Maximum over all spatial axes."""
    (x,) = inputs
    return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)


def erf(attributes: Attributes, inputs: Sequence[Any]) -> tuple[Array, ...]:
    """The error function."""
    (x,) = inputs
    return (np.fromiter(map(math.erf, x.ravel()), np.float64, x.size).reshape(x.shape),)


def gelu(attributes: Attributes, inputs: Sequence[Any]) -> tuple[Array, ...]:
    """X times the normal distribution function, or its approximation by tanh."""
    (x,) = inputs
    if attributes.get("approximate", "none") == "tanh":
        return (0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),)
    return (0.5 * x * (1 + erf({}, [x / math.sqrt(2)])[0]),)


def leaky_relu(attributes: Attributes, inputs: Sequence[Any]) -> tuple[Array, ...]:
    """X where it is positive, else alpha·x."""
    (x,) = inputs
    return (np.where(x < 0, attributes.get("alpha", 0.01) * x, x),)


def prelu(attributes: Attributes, inputs: Sequence[Any]) -> tuple[Array, ...]:
    """X where it is positive, else slope·x."""
    x, slope = inputs
    return (np.where(x < 0, slope * x, x),)


def elu(attributes: Attributes, inputs: Sequence[Any]) -> tuple[Array, ...]:
    """X where it is positive, else alpha·(eˣ − 1)."""
    (x,) = inputs
    return (np.where(x < 0, attributes.get("alpha", 1.0) * np.expm1(np.minimum(x, 0)), x),)


def selu(attributes: Attributes, inputs: Sequence[Any]) -> tuple[Array, ...]:
    """gamma·(x, or alpha·(eˣ − 1) where x is negative)."""
    (x,) = inputs
    alpha = attributes.get("alpha", 1.6732631921768188)
    gamma = attributes.get("gamma", 1.0507010221481323)
    return (gamma * np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x),)


def hard_sigmoid(attributes: Attributes, inputs: Sequence[Any]) -> tuple[Array, ...]:
    """alpha·x + beta within 0 and 1."""
    (x,) = inputs
    return (np.clip(attributes.get("alpha", 0.2) * x + attributes.get("beta", 0.5), 0, 1),)


def softplus(attributes: Attributes, inputs: Sequence[Any]) -> tuple[Array, ...]:
    """log(1 + eˣ)."""
    (x,) = inputs
    return (np.logaddexp(x, 0),)


def softsign(attributes: Attributes, inputs: Sequence[Any]) -> tuple[Array, ...]:
    """X / (1 + |x|)."""
    (x,) = inputs
    return (x / (1 + np.abs(x)),)


KERNELS: Mapping[str, Kernel] = {
    "AveragePool": average_pool,
    "Conv": conv,
    "Elu": elu,
    "Erf": erf,
    "GRU": gru,
    "Gelu": gelu,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "HardSigmoid": hard_sigmoid,
    "LSTM": lstm,
    "LeakyRelu": leaky_relu,
    "PRelu": prelu,
    "RNN": rnn,
    "Selu": selu,
    "Softplus": softplus,
    "Softsign": softsign,
}
"""By operator type of the ONNX domain."""


def _window(
    attributes: Attributes, sizes: Sequence[int], kernel: Sequence[int]
) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """Strides, dilations and padding (before, behind) of each spatial axis."""
    rank = len(kernel)
    strides = list(attributes.get("strides") or [1] * rank)
    dilations = list(attributes.get("dilations") or [1] * rank)
    automatic = attributes.get("auto_pad", "NOTSET")
    if automatic == "NOTSET":
        flat = list(attributes.get("pads") or [0] * 2 * rank)
        return strides, dilations, list(zip(flat[:rank], flat[rank:], strict=True))
    pads = []
    for size, width, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        reach = (width - 1) * dilation + 1
        total = max(0, (math.ceil(size / stride) - 1) * stride + reach - size)
        small = total // 2
        pads.append(
            {
                "VALID": (0, 0),
                "SAME_UPPER": (small, total - small),
                "SAME_LOWER": (total - small, small),
            }[automatic]
        )
    return strides, dilations, pads


def _padded(sample: Array, pads: Sequence[tuple[int, int]], value: float) -> Array:
    return np.pad(sample, [(0, 0), *pads], constant_values=value) if np.any(pads) else sample
