"""Weights saved by older versions of Keras, converted for today's layers.

Keras 1 saved each gate of a recurrent layer separately, and kernels with other axis orders. On
Theano, kernels were stored flipped, because Theano convolves where the other backends correlate.
The cuDNN layers had their own kernel layout and two biases.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from runtimes.base import Array

Weights = list[Array]
Conversion = Callable[[Any, Weights], Weights]
"""Maps a live layer and the arrays saved for it to the arrays that it takes now."""

_CONVOLUTIONS = {"Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "ConvLSTM2D"}
_KEPT = "channels_last"


def conversion(major: int, backend: str | None) -> Conversion:
    """A function that converts the arrays of one layer; ``backend`` is the one that saved them."""

    def convert(layer: Any, weights: Weights) -> Weights:
        kind = type(layer).__name__
        if kind == "Bidirectional":
            half = len(weights) // 2
            forward = convert(layer.forward_layer, weights[:half])
            return forward + convert(layer.backward_layer, weights[half:])
        if kind == "TimeDistributed":
            return convert(layer.layer, weights)
        if major == 1:
            weights = _of_keras_1(kind, layer, weights)
        if backend == "theano" and kind in _CONVOLUTIONS:
            weights = [_flipped(weights[0]), *weights[1:]]
        if kind in ("LSTM", "GRU"):
            weights = _of_cudnn(kind, weights)
        return weights

    return convert


def _of_keras_1(kind: str, layer: Any, weights: Weights) -> Weights:
    if kind in ("LSTM", "ConvLSTM2D") and len(weights) == 12:
        # Keras 1 ordered the gates i, c, f, o; later versions use i, f, c, o.
        return [np.concatenate([weights[i] for i in part], -1) for part in _gates(3, (0, 2, 1, 3))]
    if kind == "GRU" and len(weights) == 9:
        return [np.concatenate([weights[i] for i in part], -1) for part in _gates(3, (0, 1, 2))]
    if kind == "Conv1D":
        kernel = weights[0]
        if kernel.shape[:2] != (layer.kernel_size[0], 1) or kernel.shape[3] != layer.filters:
            kernel = np.transpose(kernel, (2, 3, 1, 0))
        return [kernel[:, 0], *weights[1:]]
    orders = {
        ("Conv2D", False): (2, 3, 1, 0),
        ("Conv3D", False): (2, 3, 4, 1, 0),
        ("Conv2DTranspose", True): (0, 1, 3, 2),
        ("Conv2DTranspose", False): (2, 3, 0, 1),
    }
    order = orders.get((kind, getattr(layer, "data_format", _KEPT) == _KEPT))
    return weights if order is None else [np.transpose(weights[0], order), *weights[1:]]


def _gates(kinds: int, order: tuple[int, ...]) -> list[list[int]]:
    """Positions by gate of each kind of weight: kernels, recurrent kernels and biases."""
    return [[kinds * gate + kind for gate in order] for kind in range(kinds)]


def _flipped(kernel: Array) -> Array:
    """Flip the kernel along its spatial axes, which are all but the last two."""
    return np.flip(kernel, tuple(range(kernel.ndim - 2)))


def _of_cudnn(kind: str, weights: Weights) -> Weights:
    """Convert the weights of a cuDNN layer, recognized by two biases in one array."""
    gates = 4 if kind == "LSTM" else 3
    if len(weights) != 3 or weights[2].shape != (2 * gates * weights[1].shape[0],):
        return weights
    kernels = [
        part.T.reshape(part.shape, order="F") for part in np.split(weights[0], gates, axis=1)
    ]
    recurrent = [part.T for part in np.split(weights[1], gates, axis=1)]
    biases = weights[2].reshape(2, -1)
    return [
        np.concatenate(kernels, 1),
        np.concatenate(recurrent, 1),
        biases.sum(0) if kind == "LSTM" else biases,
    ]
