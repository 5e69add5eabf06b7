"""Recurrent layers, their cells and wrappers."""

from __future__ import annotations

from typing import Any

from layer_cases.case import Case, Given, case, masks

LAYERS = ("LSTM", "GRU", "SimpleRNN")
SEQUENCE = (6, 5)
MASK = Given((6,), "bool", masks)


def _prefix(rng, shape):  # type: ignore[no-untyped-def]
    lengths = rng.integers(1, shape[1] + 1, (shape[0], 1))
    return lengths > range(shape[1])


def _left_padded(rng, shape):  # type: ignore[no-untyped-def]
    return _prefix(rng, shape)[:, ::-1]


PREFIX = Given((6,), "bool", _prefix)
LEFT_PADDED = Given((6,), "bool", _left_padded)


def cases() -> list[Case]:
    return [
        *(c for layer in LAYERS for c in _layer(layer)),
        *_specific(),
        *_bidirectional(),
        *_cells(),
        *_convolutional(),
        *_time_distributed(),
    ]


def _masked(layer, x, mask):  # type: ignore[no-untyped-def]
    return layer(x, mask=mask)


def _layer(layer: str) -> list[Case]:
    def make(
        variant: str, *inputs: Any, call: Any = None, batch: int | None = None, **arguments: Any
    ) -> Case:
        return case(
            layer,
            *(inputs or (SEQUENCE,)),
            variant=variant or None,
            call=call,
            batch=batch,
            units=4,
            **arguments,
        )

    states = 2 if layer == "LSTM" else 1

    def with_states(layer: Any, x: Any, *initial: Any) -> Any:
        return layer(x, initial_state=list(initial))

    return [
        make(""),
        make("", return_sequences=True),
        make("", return_sequences=True, return_state=True),
        make("", return_state=True),
        make("", go_backwards=True),
        make("", go_backwards=True, return_sequences=True),
        make("", use_bias=False),
        make("", unroll=True),
        make("", activation="relu"),
        make("", dropout=0.3, recurrent_dropout=0.2),
        make("dynamic_length", Given((None, 5), dynamic=(7,)), return_sequences=True),
        make("mask_prefix", SEQUENCE, PREFIX, call=_masked),
        make(
            "mask_prefix_sequences",
            SEQUENCE,
            PREFIX,
            call=_masked,
            return_sequences=True,
            return_state=True,
        ),
        make("mask_left_padded", SEQUENCE, LEFT_PADDED, call=_masked, return_sequences=True),
        make("mask_holes", SEQUENCE, MASK, call=_masked, return_sequences=True),
        make(
            "mask_holes_backwards",
            SEQUENCE,
            MASK,
            call=_masked,
            return_sequences=True,
            go_backwards=True,
        ),
        make(
            "mask_zero_output",
            SEQUENCE,
            MASK,
            call=_masked,
            return_sequences=True,
            zero_output_for_mask=True,
        ),
        make(
            "masking_layer",
            Given(SEQUENCE, "float32", _some_zero_steps),
            call=_after_masking,
            return_sequences=True,
        ),
        make("initial_state", SEQUENCE, *[(4,)] * states, call=with_states, return_sequences=True),
        make("stateful", SEQUENCE, batch=3, stateful=True, return_sequences=True),
        make("stacked", SEQUENCE, call=_stacked, return_sequences=True),
    ]


def _specific() -> list[Case]:
    return [
        case("GRU", SEQUENCE, units=4, reset_after=False),
        case("GRU", SEQUENCE, units=4, reset_after=False, use_bias=False, return_sequences=True),
        case("LSTM", SEQUENCE, units=4, recurrent_activation="hard_sigmoid"),
        case("GRU", SEQUENCE, units=4, recurrent_activation="hard_sigmoid"),
        case("LSTM", SEQUENCE, units=4, activation="gelu", variant="gelu"),
        case("LSTM", (20, 64), units=64, return_sequences=True, variant="large"),
        case("GRU", (20, 64), units=64, return_sequences=True, variant="large"),
    ]


def _bidirectional() -> list[Case]:
    def make(
        variant: str,
        inner: str,
        *inputs: Any,
        call: Any = None,
        merge: Any = "concat",
        batch: int | None = None,
        **arguments: Any,
    ) -> Case:
        return case(
            "Bidirectional",
            *(inputs or (SEQUENCE,)),
            variant=f"{inner},{variant}",
            call=call,
            batch=batch,
            make=lambda keras: keras.layers.Bidirectional(
                getattr(keras.layers, inner)(4, **arguments), merge_mode=merge
            ),
        )

    found = []
    for inner in LAYERS:
        found += [
            make("last", inner),
            make("sequences", inner, return_sequences=True),
            make("mask_prefix", inner, SEQUENCE, PREFIX, call=_masked, return_sequences=True),
            make("mask_holes", inner, SEQUENCE, MASK, call=_masked),
        ]
    found += [
        make(f"merge_{merge}", "LSTM", merge=merge, return_sequences=True)
        for merge in ("sum", "mul", "ave", None)
    ]
    found += [
        make("state", "LSTM", return_state=True),
        make("state", "GRU", return_state=True, return_sequences=True),
        make("dynamic_length", "GRU", Given((None, 5), dynamic=(7,)), return_sequences=True),
        make("stateful", "LSTM", SEQUENCE, batch=3, stateful=True),
        case(
            "Bidirectional",
            SEQUENCE,
            variant="backward_layer",
            make=lambda keras: keras.layers.Bidirectional(
                keras.layers.LSTM(4, return_sequences=True),
                backward_layer=keras.layers.GRU(3, return_sequences=True, go_backwards=True),
            ),
        ),
    ]
    return found


def _cells() -> list[Case]:
    found = []
    for cell in ("LSTMCell", "GRUCell", "SimpleRNNCell"):
        found.append(
            case(cell, SEQUENCE, variant="in_RNN", make=_rnn_of(cell, return_sequences=True))
        )
        states = 2 if cell == "LSTMCell" else 1
        found.append(
            case(
                cell,
                (5,),
                *[(4,)] * states,
                variant="one_step",
                units=4,
                call=lambda layer, x, *initial: layer(x, list(initial))[0],
            )
        )
    return [
        *found,
        case("RNN", SEQUENCE, variant="LSTMCell", make=_rnn_of("LSTMCell", return_state=True)),
        case(
            "RNN",
            SEQUENCE,
            MASK,
            variant="GRUCell_mask",
            call=_masked,
            make=_rnn_of("GRUCell", return_sequences=True),
        ),
        case(
            "RNN", SEQUENCE, variant="backwards", make=_rnn_of("SimpleRNNCell", go_backwards=True)
        ),
        case("RNN", SEQUENCE, variant="custom_cell", make=_custom_cell),
        case(
            "RNN",
            Given((None, 5), dynamic=(7,)),
            variant="dynamic_length",
            make=_rnn_of("GRUCell", return_sequences=True),
        ),
        case(
            "StackedRNNCells",
            SEQUENCE,
            variant="LSTMCell",
            make=lambda keras: keras.layers.RNN(
                keras.layers.StackedRNNCells([keras.layers.LSTMCell(4), keras.layers.LSTMCell(3)])
            ),
        ),
        case(
            "StackedRNNCells",
            SEQUENCE,
            variant="mixed",
            make=lambda keras: keras.layers.RNN(
                keras.layers.StackedRNNCells(
                    [keras.layers.GRUCell(4), keras.layers.SimpleRNNCell(3)]
                ),
                return_sequences=True,
            ),
        ),
    ]


def _convolutional() -> list[Case]:
    found = []
    for dims in (1, 2, 3):
        layer = f"ConvLSTM{dims}D"
        shape = (3, *range(5, 5 - dims, -1), 2)
        arguments: dict[str, Any] = {"filters": 3, "kernel_size": 2}
        found += [
            case(layer, shape, **arguments),
            case(layer, shape, **arguments, padding="same", return_sequences=True),
        ]
        if dims < 3:
            found += [
                case(layer, shape, **arguments, padding="same", return_state=True),
                case(layer, shape, **arguments, go_backwards=True, strides=2),
                case(
                    layer,
                    (3, 2, *shape[1:-1]),
                    **arguments,
                    padding="same",
                    data_format="channels_first",
                ),
            ]
    return found


def _time_distributed() -> list[Case]:
    def make(variant: str, inner: Any, *inputs: Any, call: Any = None) -> Case:
        return case(
            "TimeDistributed",
            *inputs,
            variant=variant,
            call=call,
            make=lambda keras: keras.layers.TimeDistributed(inner(keras.layers)),
        )

    return [
        make("Dense", lambda layers: layers.Dense(4), (6, 5)),
        make("Conv2D", lambda layers: layers.Conv2D(4, 3), (3, 6, 5, 2)),
        make("Flatten", lambda layers: layers.Flatten(), (3, 4, 5)),
        make("LSTM", lambda layers: layers.LSTM(4), (3, 6, 5)),
        make("dynamic_length", lambda layers: layers.Dense(4), Given((None, 5), dynamic=(4,))),
        make("mask", lambda layers: layers.Dense(4), (6, 5), MASK, call=_masked),
    ]


def _rnn_of(cell: str, **arguments: Any):  # type: ignore[no-untyped-def]
    return lambda keras: keras.layers.RNN(getattr(keras.layers, cell)(4), **arguments)


def _custom_cell(keras):  # type: ignore[no-untyped-def]
    class Leaky(keras.layers.Layer):
        state_size = 4
        output_size = 4

        def build(self, input_shape):  # type: ignore[no-untyped-def]
            self.kernel = self.add_weight(shape=(input_shape[-1], 4))

        def call(self, x, states):  # type: ignore[no-untyped-def]
            state = 0.5 * states[0] + keras.ops.matmul(x, self.kernel)
            return keras.ops.tanh(state), [state]

    return keras.layers.RNN(Leaky(), return_sequences=True)


def _some_zero_steps(rng, shape):  # type: ignore[no-untyped-def]
    return rng.standard_normal(shape) * (rng.random(shape[:2]) < 0.6)[..., None]


def _after_masking(layer, x):  # type: ignore[no-untyped-def]
    import keras

    return layer(keras.layers.Masking()(x))


def _stacked(layer, x):  # type: ignore[no-untyped-def]
    import keras

    return keras.layers.Dense(3)(layer.__class__(3)(layer(x)))
