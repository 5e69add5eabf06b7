"""Recurrent operators in double precision: LSTM, GRU, RNN as ONNX defines them.

https://onnx.ai/onnx/operators/onnx__LSTM.html, onnx__GRU.html, onnx__RNN.html. Floats among the
inputs are float64 (None where left out), gates are in ONNX's order, and sequences may have
different lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from runtimes.base import Array
from runtimes.engines.reference_operators.activations import Activation, activations_of

State = tuple[Array, ...]
Multiply = Callable[[Array, int, int], Array]
"""Multiplies rows by the weights of an input (1: W, 2: R) in one direction."""

_X, _W, _R, _B, _LENGTHS, _INITIAL, _PEEPHOLES = 0, 1, 2, 3, 4, 5, 7


def lstm(
    attributes: Mapping[str, Any], inputs: Sequence[Any], multiply: Multiply | None = None
) -> tuple[Array, ...]:
    """Y [time, directions, batch, hidden], Y_h and Y_c [directions, batch, hidden].

    ``multiply`` replaces the products with the weights.
    """
    peepholes = _optional(inputs, _PEEPHOLES)
    multiply = multiply or _exact(inputs)
    size = inputs[_R].shape[2]

    def step(place: int, acts: Sequence[Activation], from_x: Array, state: State) -> State:
        hidden, cell = state
        bias = _bias(inputs, place, 8 * size)
        gates = from_x + multiply(hidden, _R, place) + bias[: 4 * size] + bias[4 * size :]
        i, o, f, c = np.split(gates, 4, axis=-1)
        p = np.zeros(3 * size) if peepholes is None else peepholes[place]
        i = acts[0](i + p[:size] * cell)
        f = 1 - i if attributes.get("input_forget", 0) else acts[0](f + p[2 * size :] * cell)
        cell = f * cell + i * acts[1](c)
        o = acts[0](o + p[size : 2 * size] * cell)
        return o * acts[2](cell), cell

    y, (hidden, cell) = _run(
        attributes, inputs, multiply, step, ("Sigmoid", "Tanh", "Tanh"), states=2
    )
    return y, hidden, cell


def gru(attributes: Mapping[str, Any], inputs: Sequence[Any]) -> tuple[Array, ...]:
    """Y [time, directions, batch, hidden] and Y_h [directions, batch, hidden]."""
    linear_before_reset = bool(attributes.get("linear_before_reset", 0))
    size = inputs[_R].shape[2]

    def step(place: int, acts: Sequence[Activation], from_x: Array, state: State) -> State:
        (hidden,) = state
        r, bias = inputs[_R][place], _bias(inputs, place, 6 * size)
        from_x, rb = from_x + bias[: 3 * size], bias[3 * size :]
        both = from_x[:, : 2 * size] + hidden @ r[: 2 * size].T + rb[: 2 * size]
        z, reset = np.split(acts[0](both), 2, axis=-1)
        if linear_before_reset:
            new = reset * (hidden @ r[2 * size :].T + rb[2 * size :])
        else:
            new = (reset * hidden) @ r[2 * size :].T + rb[2 * size :]
        return ((1 - z) * acts[1](from_x[:, 2 * size :] + new) + z * hidden,)

    y, (hidden,) = _run(attributes, inputs, _exact(inputs), step, ("Sigmoid", "Tanh"), states=1)
    return y, hidden


def rnn(attributes: Mapping[str, Any], inputs: Sequence[Any]) -> tuple[Array, ...]:
    """Y [time, directions, batch, hidden] and Y_h [directions, batch, hidden]."""
    multiply, size = _exact(inputs), inputs[_R].shape[2]

    def step(place: int, acts: Sequence[Activation], from_x: Array, state: State) -> State:
        bias = _bias(inputs, place, 2 * size)
        products = from_x + multiply(state[0], _R, place)
        return (acts[0](products + bias[:size] + bias[size:]),)

    y, (hidden,) = _run(attributes, inputs, multiply, step, ("Tanh",), states=1)
    return y, hidden


def _run(
    attributes: Mapping[str, Any],
    inputs: Sequence[Any],
    multiply: Multiply,
    step: Callable[[int, Sequence[Activation], Array, State], State],
    defaults: Sequence[str],
    *,
    states: int,
) -> tuple[Array, list[Array]]:
    """Run every direction over time, holding the state of sequences that have ended."""
    batch_first = bool(attributes.get("layout", 0))
    x = inputs[_X].swapaxes(0, 1) if batch_first else inputs[_X]
    time, batch = x.shape[:2]
    directions, size = inputs[_R].shape[0], inputs[_R].shape[2]
    lengths = _optional(inputs, _LENGTHS)
    if lengths is None:
        lengths = np.full(batch, time)
    longest = int(lengths.max(initial=0))
    acts = activations_of(attributes, [*defaults] * directions)
    y = np.zeros((time, directions, batch, size))
    finals = [np.zeros((directions, batch, size)) for _ in range(states)]
    for place, reverse in enumerate(_backwards(attributes)):
        chosen = acts[place * len(defaults) : (place + 1) * len(defaults)]
        from_x = multiply((_reversed(x, lengths) if reverse else x)[:longest], _W, place)
        state = tuple(
            _initial(inputs, _INITIAL + k, place, (batch, size), batch_first) for k in range(states)
        )
        found = np.zeros((time, batch, size))
        for now in range(longest):
            alive = (now < lengths)[:, None]
            # Zero what has ended: it must not even affect a range that all rows share.
            new = step(place, chosen, from_x[now], tuple(np.where(alive, s, 0) for s in state))
            state = tuple(np.where(alive, n, s) for n, s in zip(new, state, strict=True))
            found[now] = np.where(alive, state[0], 0)
        y[:, place] = _reversed(found, lengths) if reverse else found
        for final, value in zip(finals, state, strict=True):
            final[place] = value
    if batch_first:
        return y.transpose(2, 0, 1, 3), [final.swapaxes(0, 1) for final in finals]
    return y, finals


def _backwards(attributes: Mapping[str, Any]) -> list[bool]:
    """For each direction, whether it runs backwards."""
    direction = attributes.get("direction") or "forward"
    return {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]


def _reversed(x: Array, lengths: Array) -> Array:
    """Each sequence of [time, batch, …] reversed within its own length; the rest is unchanged."""
    place = np.arange(len(x))[:, None]
    order = np.where(place < lengths, lengths - 1 - place, place)
    return np.take_along_axis(x, order[:, :, None], axis=0)


def _exact(inputs: Sequence[Any]) -> Multiply:
    return lambda rows, which, place: rows @ inputs[which][place].T


def _bias(inputs: Sequence[Any], place: int, size: int) -> Array:
    bias = _optional(inputs, _B)
    return np.zeros(size) if bias is None else np.asarray(bias[place])


def _initial(
    inputs: Sequence[Any], index: int, place: int, shape: tuple[int, int], batch_first: bool
) -> Array:
    given = _optional(inputs, index)
    if given is None:
        return np.zeros(shape)
    return np.asarray(given[:, place] if batch_first else given[place])


def _optional(inputs: Sequence[Any], index: int) -> Any:
    return inputs[index] if len(inputs) > index else None
