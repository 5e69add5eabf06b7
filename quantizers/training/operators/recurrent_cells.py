"""One step of LSTM, GRU and RNN, and the activations that they can have.

The gates stand side by side as ONNX has them: input, output, forget, cell of an LSTM; update,
reset, hidden of a GRU.
https://onnx.ai/onnx/operators/onnx__LSTM.html, onnx__GRU.html and onnx__RNN.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Activation = Callable[[Any], Any]
Product = Callable[[Any], Any]
State = tuple[Any, ...]
"""What a step hands on: the hidden state, and of an LSTM the cell's."""


@dataclass(frozen=True)
class Cell:
    """What all steps of one direction share.

    Attributes:
        activations: In ONNX' order, each with its clipping in front.
        recur: The products of the hidden state and the recurrent weights, [N, H] to [N, gates * H]:
            one, or of a GRU without ``reset_behind`` one for two gates and one for the last.
        peepholes: Of an LSTM: input, output and forget, each [H].
        recurrent_bias: Of a GRU: what is added to the hidden gate's recurrent product, [H].
        coupled: Of an LSTM: the forget gate is what the input gate leaves.
        reset_behind: Of a GRU: the reset gate acts behind the recurrent product.
    """

    activations: Sequence[Activation]
    recur: Sequence[Product]
    peepholes: Sequence[Any] | None = None
    recurrent_bias: Any = None
    coupled: bool = False
    reset_behind: bool = False


def lstm_step(cell: Cell, gates: Any, state: State) -> State:
    """``gates``: the inputs' share of them, [N, 4 * H]."""
    import tensorflow as tf

    hidden, memory = state
    gate, update, output = cell.activations
    enter, leave, forget, new = tf.split(gates + cell.recur[0](hidden), 4, -1)
    if cell.peepholes is not None:
        enter += cell.peepholes[0] * memory
        forget += cell.peepholes[2] * memory
    enter = gate(enter)
    kept = 1 - enter if cell.coupled else gate(forget)
    memory = kept * memory + enter * update(new)
    if cell.peepholes is not None:
        leave += cell.peepholes[1] * memory
    return gate(leave) * output(memory), memory


def gru_step(cell: Cell, gates: Any, state: State) -> State:
    """``gates``: the inputs' share of them, [N, 3 * H]."""
    import tensorflow as tf

    (hidden,) = state
    gate, update = cell.activations
    size = int(hidden.shape[-1])
    if cell.reset_behind:
        product = cell.recur[0](hidden)
        both = gate(gates[:, : 2 * size] + product[:, : 2 * size])
        keep, reset = tf.split(both, 2, -1)
        inner = product[:, 2 * size :]
        inner = inner if cell.recurrent_bias is None else inner + cell.recurrent_bias
        new = update(gates[:, 2 * size :] + reset * inner)
    else:
        both = gate(gates[:, : 2 * size] + cell.recur[0](hidden))
        keep, reset = tf.split(both, 2, -1)
        new = update(gates[:, 2 * size :] + cell.recur[1](reset * hidden))
    return (new + keep * (hidden - new),)


def rnn_step(cell: Cell, gates: Any, state: State) -> State:
    """``gates``: the inputs' share, [N, H]."""
    return (cell.activations[0](gates + cell.recur[0](state[0])),)


def activations_of(
    names: Sequence[str], alphas: Sequence[float], betas: Sequence[float], clip: float | None
) -> list[Activation]:
    """The activations called ``names``; each takes from ``alphas`` and ``betas`` what it needs."""
    left_alphas, left_betas = iter(alphas), iter(betas)
    return [_activation(name.lower(), left_alphas, left_betas, clip) for name in names]


def _activation(
    name: str, alphas: Iterator[float], betas: Iterator[float], clip: float | None
) -> Activation:
    defaults = _DEFAULTS[name]
    alpha = next(alphas, defaults[0]) if defaults[0] is not None else None
    beta = next(betas, defaults[1]) if defaults[1] is not None else None
    compute = _ACTIVATIONS[name]

    def activate(x: Any) -> Any:
        import tensorflow as tf

        return compute(tf, x if clip is None else tf.clip_by_value(x, -clip, clip), alpha, beta)

    return activate


# The alpha and the beta that ONNX Runtime takes where none is given; None where there is none.
_DEFAULTS: dict[str, tuple[float | None, float | None]] = {
    "affine": (1.0, 0.0),
    "elu": (1.0, None),
    "hardsigmoid": (0.2, 0.5),
    "leakyrelu": (0.01, None),
    "relu": (None, None),
    "scaledtanh": (1.0, 1.0),
    "sigmoid": (None, None),
    "softplus": (None, None),
    "softsign": (None, None),
    "tanh": (None, None),
    "thresholdedrelu": (1.0, None),
}

_ACTIVATIONS: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "affine": lambda tf, x, alpha, beta: alpha * x + beta,
    "elu": lambda tf, x, alpha, _: tf.where(x > 0, x, alpha * tf.math.expm1(tf.minimum(x, 0))),
    "hardsigmoid": lambda tf, x, alpha, beta: tf.clip_by_value(alpha * x + beta, 0, 1),
    "leakyrelu": lambda tf, x, alpha, _: tf.where(x > 0, x, alpha * x),
    "relu": lambda tf, x, *_: tf.nn.relu(x),
    "scaledtanh": lambda tf, x, alpha, beta: alpha * tf.math.tanh(beta * x),
    "sigmoid": lambda tf, x, *_: tf.math.sigmoid(x),
    "softplus": lambda tf, x, *_: tf.math.softplus(x),
    "softsign": lambda tf, x, *_: tf.nn.softsign(x),
    "tanh": lambda tf, x, *_: tf.math.tanh(x),
    "thresholdedrelu": lambda tf, x, alpha, _: tf.where(x > alpha, x, tf.zeros_like(x)),
}
SUPPORTED = frozenset(_ACTIVATIONS)
"""Names of activations, in small letters."""
