"""LSTM, GRU and RNN over whole sequences, in one or both directions.

The product of inputs and weights is computed for all steps at once. Short sequences of known
length become one step behind the other, others a loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from quantizers.training.operators.base import Call, Operator
from quantizers.training.operators.recurrent_cells import (
    SUPPORTED,
    Activation,
    Cell,
    Product,
    State,
    activations_of,
    gru_step,
    lstm_step,
    rnn_step,
)
from quantizers.training.tensors import Tensor, sizes_of

# More steps than this are a loop: a graph of so many nodes takes seconds to make.
_UNROLLED = 16


@dataclass(frozen=True)
class Kind:
    """What LSTM, GRU and RNN differ in; ``states``: how many a step hands on."""

    gates: int
    states: int
    activations: tuple[str, ...]
    step: Callable[[Cell, Any, State], State]


KINDS = {
    "GRU": Kind(3, 1, ("Sigmoid", "Tanh"), gru_step),
    "LSTM": Kind(4, 2, ("Sigmoid", "Tanh", "Tanh"), lstm_step),
    "RNN": Kind(1, 1, ("Tanh",), rnn_step),
}


@dataclass(frozen=True)
class Products:
    """How inputs [T, N, I] and states [N, H] meet the weights of one direction.

    ``states``: for all gates; of a GRU that resets before the product, for two and for the last.
    """

    inputs: Product
    states: Sequence[Product]


def recurrent(call: Call) -> Sequence[Tensor]:
    """LSTM, GRU or RNN with floats."""
    return layer(call, KINDS[call.node.op_type], lambda place: _products(call, place))


def layer(call: Call, kind: Kind, products_of: Callable[[int], Products]) -> Sequence[Tensor]:
    """All directions of a recurrent operator; ``products_of`` gives those of a direction."""
    import tensorflow as tf

    batch_first = bool(call.attribute("layout", 0))
    x = call.first(0)
    x = tf.transpose(x, [1, 0, 2]) if batch_first else x
    how = call.attribute("direction", "forward")
    reversals = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[how]
    sequences, ends = [], []
    for place, is_reversed in enumerate(reversals):
        products = products_of(place)
        cell = _cell(call, kind, place, len(reversals), products.states)
        gates = _gates(call, kind, place, products.inputs(x))
        states = _initial(call, kind, place, x, batch_first)
        found, state = _direction(call, partial(kind.step, cell), gates, states, is_reversed)
        sequences.append(found)
        ends.append(state)
    outputs = [tf.stack(sequences, 1)]  # [T, directions, N, H]
    outputs += [tf.stack([state[place] for state in ends]) for place in range(kind.states)]
    if batch_first:
        outputs[0] = tf.transpose(outputs[0], [2, 0, 1, 3])
        outputs[1:] = [tf.transpose(state, [1, 0, 2]) for state in outputs[1:]]
    return [Tensor(output) for output in outputs]


def _products(call: Call, place: int) -> Products:
    import tensorflow as tf

    weights, recurrent_weights = call.first(1)[place], call.first(2)[place]
    parts = [tf.transpose(recurrent_weights)]
    if call.node.op_type == "GRU" and not call.attribute("linear_before_reset", 0):
        size = int(call.attribute("hidden_size"))
        parts = tf.split(parts[0], [2 * size, size], -1)
    return Products(
        lambda x: tf.tensordot(x, weights, [[2], [1]]),
        [partial(_times, weights=part) for part in parts],
    )


def _times(state: Any, weights: Any) -> Any:
    import tensorflow as tf

    return tf.matmul(state, weights)


def _cell(call: Call, kind: Kind, place: int, directions: int, recur: Sequence[Product]) -> Cell:
    import tensorflow as tf

    peepholes = call.optional(7) if kind.states == 2 else None
    size = int(call.attribute("hidden_size"))
    reset_behind = kind.gates == 3 and bool(call.attribute("linear_before_reset", 0))
    return Cell(
        _activations(call, kind, directions)[place],
        recur,
        None if peepholes is None else tf.split(call.first(7)[place], 3, -1),
        call.first(3)[place][-size:] if reset_behind and call.optional(3) is not None else None,
        bool(call.attribute("input_forget", 0)),
        reset_behind,
    )


def _activations(call: Call, kind: Kind, directions: int) -> list[list[Activation]]:
    names = list(call.attribute("activations") or kind.activations * directions)
    names = [name.decode() if isinstance(name, bytes) else name for name in names]
    for name in names:
        if name.lower() not in SUPPORTED:
            raise call.refuse(f"its activation is {name}")
    alphas = list(call.attribute("activation_alpha") or [])
    betas = list(call.attribute("activation_beta") or [])
    found = activations_of(names, alphas, betas, call.attribute("clip"))
    unclipped = activations_of(names, alphas, betas, None)
    count = len(kind.activations)
    if kind.states == 2:  # ONNX Runtime clips what goes into the gates, and not the cell's state
        found[2::3] = unclipped[2::3]
    return [found[place * count : (place + 1) * count] for place in range(directions)]


def _gates(call: Call, kind: Kind, place: int, products: Any) -> Any:
    """The share of inputs and biases in all gates, [T, N, gates * H]."""
    import tensorflow as tf

    if call.optional(3) is None:
        return products
    own, theirs = tf.split(call.first(3)[place], 2, -1)
    if kind.gates == 3 and call.attribute("linear_before_reset", 0):
        size = int(call.attribute("hidden_size"))
        theirs = tf.concat([theirs[: 2 * size], tf.zeros_like(theirs[2 * size :])], 0)
    return products + (own + theirs)


def _initial(call: Call, kind: Kind, place: int, x: Any, batch_first: bool) -> State:
    import tensorflow as tf

    zeros = tf.zeros([sizes_of(x)[1], int(call.attribute("hidden_size"))], x.dtype)
    states = []
    for where in (5, 6)[: kind.states]:
        given = call.optional(where)
        if given is None:
            states.append(zeros)
        else:
            states.append(given.first[:, place] if batch_first else given.first[place])
    return tuple(states)


def _direction(
    call: Call, step: Callable[[Any, State], State], gates: Any, states: State, is_reversed: bool
) -> tuple[Any, State]:
    """The hidden states [T, N, H], and the last states."""
    import tensorflow as tf

    lengths = None if call.optional(4) is None else tf.convert_to_tensor(call.first(4))

    def reverse(x: Any) -> Any:
        if lengths is None:
            return tf.reverse(x, [0])
        return tf.reverse_sequence(x, lengths, seq_axis=0, batch_axis=1)

    gates = reverse(gates) if is_reversed else gates

    def one(time: Any, row: Any, state: State) -> tuple[Any, State]:
        new = step(row, state)
        if lengths is None:
            return new[0], new
        goes_on = (tf.cast(time, lengths.dtype) < lengths)[:, None]
        kept = tuple(tf.where(goes_on, *pair) for pair in zip(new, state, strict=True))
        return tf.where(goes_on, new[0], tf.zeros_like(new[0])), kept

    steps = sizes_of(gates)[0]
    run = _unrolled if isinstance(steps, int) and 0 < steps <= _UNROLLED else _loop
    found, states = run(one, gates, steps, states)
    return (reverse(found) if is_reversed else found), states


OneStep = Callable[[Any, Any, State], tuple[Any, State]]
"""From the time, the row of gates and the state to the hidden state and the new state."""


def _unrolled(one: OneStep, gates: Any, steps: int, states: State) -> tuple[Any, State]:
    import tensorflow as tf

    found = []
    for time, row in enumerate(tf.unstack(gates, steps)):
        hidden, states = one(time, row, states)
        found.append(hidden)
    return tf.stack(found), states


def _loop(one: OneStep, gates: Any, steps: Any, states: State) -> tuple[Any, State]:
    """Arrays of rows, because the gradient of a slice is as large as what it was cut from."""
    import tensorflow as tf

    given = tf.TensorArray(gates.dtype, steps, element_shape=gates.shape[1:]).unstack(gates)
    found = tf.TensorArray(gates.dtype, steps, element_shape=states[0].shape)

    def body(time: Any, state: State, rows: Any) -> tuple[Any, State, Any]:
        hidden, state = one(time, given.read(time), state)
        return time + 1, state, rows.write(time, hidden)

    _, states, found = tf.while_loop(
        lambda time, *_: time < steps, body, (tf.constant(0), states, found)
    )
    return found.stack(), states


OPERATORS: dict[str, Operator] = dict.fromkeys(KINDS, recurrent)
