"""Recurrent layers become one ONNX node each, whatever mask, state or direction they have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

RECURRENT = {"LSTM": "LSTM", "GRU": "GRU", "SimpleRNN": "RNN"}
LOOPS = {"Loop", "Scan", "If"}

# A layer is as good as another for what they share: all three are in the table of layers.
pytestmark = [pytest.mark.parametrize("name", RECURRENT), pytest.mark.sweep(4)]


def features(batch: int, *shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(batch, *shape)).astype(np.float32)


def tokens(steps: int) -> list[list[Any]]:
    """Token 0 is masked: right and left padding, holes, all and nothing."""
    some = np.random.default_rng(1).integers(1, 9, (7, steps)).astype(np.int32)
    some[0] = 0
    some[2, steps // 2 :] = 0
    some[3, : steps // 2] = 0
    some[4, ::2] = 0
    some[5, 1::3] = 0
    some[6, -1] = 0
    return [[some], [some[4:5]]]


def inputs(keras: Any, masked: bool, steps: int | None) -> tuple[Any, Any]:
    """A model input and the sequence that recurrent layers are called on."""
    if not masked:
        tensor = keras.Input((steps, 5))
        return tensor, tensor
    tensor = keras.Input((steps,), dtype="int32")
    return tensor, keras.layers.Embedding(9, 5, mask_zero=True)(tensor)


def samples(masked: bool, steps: int) -> list[list[Any]]:
    return tokens(steps) if masked else [[features(1, steps, 5)], [features(3, steps, 5)]]


@pytest.mark.parametrize("masked", [False, True])
def test_variants(keras: Any, parity: Any, name: str, masked: bool) -> None:
    variants = [
        {},
        {"return_sequences": True},
        {"go_backwards": True, "return_state": True},
        {"go_backwards": True, "return_sequences": True},
        {"use_bias": False, "return_sequences": True},
        {"unroll": True, "return_sequences": True},
        {"zero_output_for_mask": True},
        {"zero_output_for_mask": True, "go_backwards": True},
        {"zero_output_for_mask": True, "return_sequences": True},
        {"dropout": 0.3, "recurrent_dropout": 0.3},
    ]
    if name == "GRU":
        variants += [
            {"reset_after": False, "return_sequences": True},
            {"reset_after": False, "use_bias": False},
        ]
    tensor, sequence = inputs(keras, masked, 7)
    layer = getattr(keras.layers, name)
    outputs = [layer(4, **variant)(sequence) for variant in variants]
    operators = parity(keras.Model(tensor, keras.tree.flatten(outputs)), samples(masked, 7))
    assert operators[RECURRENT[name]] == len(variants)
    assert not LOOPS & operators.keys()


@pytest.mark.parametrize("masked", [False, True])
def test_bidirectional_is_one_node(keras: Any, parity: Any, name: str, masked: bool) -> None:
    tensor, sequence = inputs(keras, masked, 7)
    layer = getattr(keras.layers, name)
    outputs = [
        keras.layers.Bidirectional(layer(4, return_sequences=whole), merge_mode=merge)(sequence)
        for merge in ("concat", "sum", "ave", "mul", None)
        for whole in (False, True)
    ]
    states = keras.layers.Bidirectional(layer(4, return_sequences=True, return_state=True))
    operators = parity(
        keras.Model(tensor, keras.tree.flatten([*outputs, states(sequence)])), samples(masked, 7)
    )
    assert operators[RECURRENT[name]] == 11
    assert not LOOPS & operators.keys()


@pytest.mark.parametrize("masked", [False, True])
def test_dynamic_time(keras: Any, parity: Any, name: str, masked: bool) -> None:
    tensor, sequence = inputs(keras, masked, None)
    layer = getattr(keras.layers, name)
    sequence = keras.layers.Bidirectional(layer(4, return_sequences=True))(sequence)
    sequence = layer(3, return_sequences=True, go_backwards=True)(sequence)
    model = keras.Model(tensor, layer(4)(sequence))
    operators = parity(model, [*samples(masked, 4), *samples(masked, 9)])
    assert operators[RECURRENT[name]] == 3
    assert not LOOPS & operators.keys()


@pytest.mark.parametrize("masked", [False, True])
def test_initial_state(keras: Any, parity: Any, name: str, masked: bool) -> None:
    tensor, sequence = inputs(keras, masked, 7)
    layer = getattr(keras.layers, name)
    count = 2 if name == "LSTM" else 1
    states = [keras.Input((4,)) for _ in range(2 * count)]
    one_way = layer(4, return_state=True)(sequence, initial_state=states[:count])
    both_ways = keras.layers.Bidirectional(layer(4, return_state=True, return_sequences=True))
    outputs = keras.tree.flatten([one_way, both_ways(sequence, initial_state=states)])
    feeds = [
        [arrays[0], *(features(len(arrays[0]), 4, seed=i) for i in range(2 * count))]
        for arrays in samples(masked, 7)
    ]
    operators = parity(keras.Model([tensor, *states], outputs), feeds)
    assert operators[RECURRENT[name]] == 2
    assert not LOOPS & operators.keys()


def test_stateful_starts_from_its_current_state(keras: Any, parity: Any, name: str) -> None:
    tensor = keras.Input(batch_shape=(3, 7, 5))
    layer = getattr(keras.layers, name)(4, stateful=True, return_sequences=True)
    twice = keras.layers.Bidirectional(getattr(keras.layers, name)(4, stateful=True))
    model = keras.Model(tensor, twice(layer(tensor)))
    # The reference call moves the state on, so there can be one sample only.
    operators = parity(model, [[features(3, 7, 5)]])
    assert operators[RECURRENT[name]] == 2
    assert not LOOPS & operators.keys()


def test_cells_and_stacks_of_them(keras: Any, parity: Any, name: str) -> None:
    layers = keras.layers
    tensor, sequence = inputs(keras, True, 7)
    cell = getattr(layers, f"{name}Cell")
    others = [layers.LSTMCell(4), layers.GRUCell(3), layers.SimpleRNNCell(6)]
    model = keras.Model(
        tensor,
        keras.tree.flatten(
            [
                layers.RNN(cell(4))(sequence),
                layers.Bidirectional(layers.RNN(cell(4), return_sequences=True))(sequence),
                layers.RNN([cell(2), *others], return_state=True)(sequence),
                layers.RNN([cell(2), cell(3)], return_sequences=True, go_backwards=True)(sequence),
            ]
        ),
    )
    operators = parity(model, tokens(7))
    assert operators[RECURRENT[name]] == 1 + 1 + 2 + 2
    assert not LOOPS & operators.keys()


def test_activations_that_onnx_has(keras: Any, parity: Any, name: str) -> None:
    tensor = keras.Input((4, 5))
    layer = getattr(keras.layers, name)
    known = (
        "relu", "hard_sigmoid", "linear", "elu", "leaky_relu", "softsign", "softplus", None
    )  # fmt: skip
    outputs = []
    for activation in known:
        options = {} if name == "SimpleRNN" else {"recurrent_activation": "hard_sigmoid"}
        outputs.append(layer(4, activation=activation, **options)(tensor))
    back = layer(4, activation="relu", go_backwards=True)
    outputs.append(keras.layers.Bidirectional(layer(4), backward_layer=back)(tensor))
    operators = parity(keras.Model(tensor, outputs), [[features(3, 4, 5)]])
    assert operators[RECURRENT[name]] == len(known) + 1


def test_what_onnx_cannot_say_stays_a_loop(keras: Any, parity: Any, name: str) -> None:
    base = getattr(keras.layers, f"{name}Cell")

    class Doubled(base):  # type: ignore[misc, valid-type]
        def call(self, *args: Any, **kwargs: Any) -> Any:
            output, states = super().call(*args, **kwargs)
            return output * 2, states

    layer = getattr(keras.layers, name)
    tensor = keras.Input((4, 5))
    outputs = [
        layer(4, activation="silu")(tensor),
        layer(4, activation=keras.ops.sin)(tensor),
        keras.layers.RNN(Doubled(4))(tensor),
    ]
    operators = parity(keras.Model(tensor, outputs), [[features(3, 4, 5)]])
    assert operators["Loop"] == 3


def test_a_subclass_keeps_its_own_call(keras: Any, parity: Any, name: str) -> None:
    base = getattr(keras.layers, name)

    class Doubled(base):  # type: ignore[misc, valid-type]
        def call(self, sequences: Any, initial_state: Any = None, mask: Any = None) -> Any:
            return 2 * super().call(sequences, initial_state=initial_state, mask=mask)

    tensor, sequence = inputs(keras, True, 7)
    operators = parity(keras.Model(tensor, Doubled(4)(sequence)), tokens(7))
    assert operators[RECURRENT[name]] == 1
    assert operators["Mul"] >= 1


@pytest.mark.parametrize(("policy", "tolerance"), [("mixed_float16", 2e-3), ("float64", 1e-6)])
def test_element_types(keras: Any, parity: Any, name: str, policy: str, tolerance: float) -> None:
    layer = getattr(keras.layers, name)
    tensor = keras.Input((7,), dtype="int32")
    sequence = keras.layers.Embedding(9, 5, mask_zero=True, dtype=policy)(tensor)
    output = layer(4, return_sequences=True, dtype=policy)(sequence)
    operators = parity(keras.Model(tensor, output), tokens(7), tolerance=tolerance)
    # ONNX Runtime has these operators for the shorter types only.
    assert operators[RECURRENT[name]] == (0 if policy == "float64" else 1)


def test_inside_a_loop_of_the_user(keras: Any, parity: Any, name: str) -> None:
    import tensorflow as tf

    class Repeated(keras.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.inner = getattr(keras.layers, name)(5, return_sequences=True)
            self.inner.build(shape)

        def call(self, x: Any) -> Any:
            return tf.while_loop(lambda n, _: n < 3, lambda n, y: (n + 1, self.inner(y)), [0, x])[1]

    tensor = keras.Input((7, 5))
    operators = parity(keras.Model(tensor, Repeated()(tensor)), [[features(3, 7, 5)]])
    assert operators[RECURRENT[name]] == operators["Loop"] == 1


def test_large_weights_are_reordered_once(keras: Any, parity: Any, name: str) -> None:
    tensor = keras.Input((5, 64))
    shared = getattr(keras.layers, name)(160)
    other = keras.Input((3, 64))
    model = keras.Model([tensor, other], [shared(tensor), shared(other)])
    # Weights as small as an initializer draws them: of scale 0.4, a recurrent matrix of 160 units
    # multiplies every rounding error by five at each step, and no two libraries agree.
    samples = [[features(2, 5, 64), features(2, 3, 64)]]
    operators = parity(model, samples, scale=160**-0.5)
    assert operators[RECURRENT[name]] == 2
    # Weights are folded: what is left works on the inputs.
    assert operators.total() == 2 * len(["Transpose", name, "Squeeze"])


@pytest.mark.parametrize("opset", [13, 16, 17])
def test_older_opsets(keras: Any, parity: Any, name: str, opset: int) -> None:
    tensor, sequence = inputs(keras, True, None)
    layer = getattr(keras.layers, name)
    pair = keras.layers.Bidirectional(layer(4, return_sequences=True), merge_mode="ave")
    output = layer(3, return_sequences=True, go_backwards=True)(pair(sequence))
    operators = parity(keras.Model(tensor, output), tokens(6), opset=opset)
    assert operators[RECURRENT[name]] == 2
