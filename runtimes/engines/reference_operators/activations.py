"""The activations of recurrent operators, with ONNX's names and defaults.

https://onnx.ai/onnx/operators/onnx__LSTM.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from runtimes.base import Array

Activation = Callable[[Array], Array]


def activations_of(attributes: Mapping[str, Any], defaults: Sequence[str]) -> list[Activation]:
    """The activations of a node, in the order of its attribute; ``defaults`` if it has none.

    An activation with an alpha or a beta takes the next one from the node's lists, if any is left.
    Raises ``NotImplementedError`` for a name that ONNX does not define.
    """
    alphas = iter(attributes.get("activation_alpha") or ())
    betas = iter(attributes.get("activation_beta") or ())
    clip = attributes.get("clip")
    names = attributes.get("activations") or defaults
    return [_clipped(_activation(name, alphas, betas), clip) for name in names]


def _activation(name: str, alphas: Iterator[float], betas: Iterator[float]) -> Activation:
    key = name.lower()
    if key in _PLAIN:
        return _PLAIN[key]
    if key in _ONE:
        one, default = _ONE[key]
        alpha = next(alphas, default)
        return lambda x: one(x, alpha)
    if key in _TWO:
        two, first, second = _TWO[key]
        alpha, beta = next(alphas, first), next(betas, second)
        return lambda x: two(x, alpha, beta)
    raise NotImplementedError(f"the activation {name!r} of a recurrent operator")


def _clipped(function: Activation, clip: float | None) -> Activation:
    if clip is None:
        return function
    return lambda x: function(np.clip(x, -clip, clip))


_PLAIN: Mapping[str, Activation] = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-np.clip(x, -700, 700))),
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "softplus": lambda x: np.logaddexp(x, 0),
}
_ONE: Mapping[str, tuple[Callable[[Array, float], Array], float]] = {
    "elu": (lambda x, alpha: np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x), 1.0),
    "leakyrelu": (lambda x, alpha: np.where(x < 0, alpha * x, x), 0.01),
    "thresholdedrelu": (lambda x, alpha: np.where(x >= alpha, x, 0), 1.0),
}
_TWO: Mapping[str, tuple[Callable[[Array, float, float], Array], float, float]] = {
    "affine": (lambda x, alpha, beta: alpha * x + beta, 1.0, 0.0),
    "hardsigmoid": (lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1), 0.2, 0.5),
    "scaledtanh": (lambda x, alpha, beta: alpha * np.tanh(beta * x), 1.0, 1.0),
}
