"""Recurrent operators in double precision: LSTM, GRU, RNN as ONNX defines them.

https://onnx.ai/onnx/operators/onnx__LSTM.html, onnx__GRU.html, onnx__RNN.html. Inputs are float64
(None where left out), gates lie in ONNX's order, sequences may have lengths of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from runtimes.base import Array

Activation = Callable[[Array], Array]
State = tuple[Array, ...]


def lstm(attributes: Mapping[str, Any], inputs: Sequence[Any]) -> tuple[Array, ...]:
    """Y [time, directions, batch, hidden], Y_h and Y_c [directions, batch, hidden]."""
    peepholes = inputs[7] if len(inputs) > 7 else None

    def step(place: int, acts: Sequence[Activation], x: Array, state: State) -> State:
        hidden, cell = state
        w, r, bias, size = _weights(inputs, place)
        gates = x @ w.T + hidden @ r.T + bias[: 4 * size] + bias[4 * size :]
        i, o, f, c = np.split(gates, 4, axis=-1)
        p = np.zeros(3 * size) if peepholes is None else peepholes[place]
        i = acts[0](i + p[:size] * cell)
        f = 1 - i if attributes.get("input_forget", 0) else acts[0](f + p[2 * size :] * cell)
        cell = f * cell + i * acts[1](c)
        o = acts[0](o + p[size : 2 * size] * cell)
        return o * acts[2](cell), cell

    y, (hidden, cell) = _run(attributes, inputs, step, ("Sigmoid", "Tanh", "Tanh"), states=2)
    return y, hidden, cell


def gru(attributes: Mapping[str, Any], inputs: Sequence[Any]) -> tuple[Array, ...]:
    """Y [time, directions, batch, hidden] and Y_h [directions, batch, hidden]."""
    linear_before_reset = bool(attributes.get("linear_before_reset", 0))

    def step(place: int, acts: Sequence[Activation], x: Array, state: State) -> State:
        (hidden,) = state
        w, r, bias, size = _weights(inputs, place)
        wb, rb = bias[: 3 * size], bias[3 * size :]
        from_x = x @ w.T + wb
        both = from_x[:, : 2 * size] + hidden @ r[: 2 * size].T + rb[: 2 * size]
        z, reset = np.split(acts[0](both), 2, axis=-1)
        if linear_before_reset:
            new = reset * (hidden @ r[2 * size :].T + rb[2 * size :])
        else:
            new = (reset * hidden) @ r[2 * size :].T + rb[2 * size :]
        return ((1 - z) * acts[1](from_x[:, 2 * size :] + new) + z * hidden,)

    y, (hidden,) = _run(attributes, inputs, step, ("Sigmoid", "Tanh"), states=1)
    return y, hidden


def rnn(attributes: Mapping[str, Any], inputs: Sequence[Any]) -> tuple[Array, ...]:
    """Y [time, directions, batch, hidden] and Y_h [directions, batch, hidden]."""

    def step(place: int, acts: Sequence[Activation], x: Array, state: State) -> State:
        w, r, bias, size = _weights(inputs, place)
        return (acts[0](x @ w.T + state[0] @ r.T + bias[:size] + bias[size:]),)

    y, (hidden,) = _run(attributes, inputs, step, ("Tanh",), states=1)
    return y, hidden


def _run(
    attributes: Mapping[str, Any],
    inputs: Sequence[Any],
    step: Callable[[int, Sequence[Activation], Array, State], State],
    defaults: Sequence[str],
    states: int,
) -> tuple[Array, list[Array]]:
    """Run every direction over time, holding the state of sequences that have ended."""
    x, r = inputs[0], inputs[2]
    batch_first = bool(attributes.get("layout", 0))
    if batch_first:
        x = x.swapaxes(0, 1)
    lengths = inputs[4] if len(inputs) > 4 else None
    time, batch = x.shape[:2]
    directions, size = r.shape[0], r.shape[2]
    if lengths is None:
        lengths = np.full(batch, time)
    names = list(attributes.get("activations") or [*defaults] * directions)
    clip = attributes.get("clip")
    backward = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[
        attributes.get("direction", "forward")
    ]
    y = np.zeros((time, directions, batch, size))
    finals = [np.zeros((directions, batch, size)) for _ in range(states)]
    for place, reverse in enumerate(backward):
        chosen = names[place * len(defaults) : (place + 1) * len(defaults)]
        acts = [_activation(name, clip) for name in chosen]
        state = tuple(
            _initial(inputs, 5 + k, place, (batch, size), batch_first) for k in range(states)
        )
        for now in reversed(range(time)) if reverse else range(time):
            alive = (now < lengths)[:, None]
            new = step(place, acts, x[now], state)
            state = tuple(np.where(alive, n, s) for n, s in zip(new, state, strict=True))
            y[now, place] = np.where(alive, state[0], 0)
        for final, value in zip(finals, state, strict=True):
            final[place] = value
    if batch_first:
        return y.transpose(2, 0, 1, 3), [final.swapaxes(0, 1) for final in finals]
    return y, finals


def _weights(inputs: Sequence[Any], place: int) -> tuple[Array, Array, Array, int]:
    w, r = inputs[1][place], inputs[2][place]
    bias = inputs[3] if len(inputs) > 3 else None
    return w, r, np.zeros(2 * len(w)) if bias is None else bias[place], r.shape[1]


def _initial(
    inputs: Sequence[Any], index: int, place: int, shape: tuple[int, int], batch_first: bool
) -> Array:
    given = inputs[index] if len(inputs) > index else None
    if given is None:
        return np.zeros(shape)
    return np.asarray(given[:, place] if batch_first else given[place])


def _activation(name: str, clip: float | None) -> Activation:
    functions: Mapping[str, Activation] = {
        "sigmoid": lambda x: 1 / (1 + np.exp(-np.clip(x, -700, 700))),
        "tanh": np.tanh,
        "relu": lambda x: np.maximum(x, 0),
        "hardsigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
        "softsign": lambda x: x / (1 + np.abs(x)),
        "softplus": lambda x: np.logaddexp(x, 0),
        "elu": lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x),
    }
    function = functions.get(name.lower())
    if function is None:
        raise NotImplementedError(f"the activation {name!r} of a recurrent operator")
    if clip is None:
        return function
    return lambda x: function(np.clip(x, -clip, clip))
