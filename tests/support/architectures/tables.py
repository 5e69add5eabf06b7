"""Recommenders, policies and models of tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from architectures.case import Architecture, integers, ones, words

_USERS = [f"u{number}" for number in range(20)]


def _perceptron(keras: Any) -> Any:
    layers = keras.layers
    x = row = keras.Input((8,), name="row")
    for _ in range(2):
        x = layers.Dense(16, activation="relu")(x)
    return keras.Model(row, layers.Dense(3)(x))


def _bag_of_words(keras: Any) -> Any:
    layers = keras.layers
    x = bag = keras.Input((40,), name="words")
    x = layers.Dropout(0.5)(layers.Dense(16, activation="relu")(x))
    return keras.Model(bag, layers.Dense(1, activation="sigmoid")(x))


def _normalized(keras: Any) -> Any:
    layers = keras.layers
    age, kind = keras.Input((3,), name="age"), keras.Input((1,), dtype="string", name="kind")
    normalization = layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 4.0, 9.0])
    lookup = layers.StringLookup(vocabulary=_USERS[:5], output_mode="one_hot")
    x = layers.Concatenate()([normalization(age), lookup(kind)])
    x = layers.BatchNormalization()(layers.Dense(16, activation="relu")(x))
    return keras.Model([age, kind], layers.Dense(1)(layers.Dense(8, activation="selu")(x)))


def _two_towers(keras: Any) -> Any:
    layers = keras.layers
    user = keras.Input((), dtype="string", name="user")
    item = keras.Input((), dtype="int64", name="item")
    one = layers.Embedding(21, 8)(layers.StringLookup(vocabulary=_USERS)(user))
    other = layers.Dense(8)(layers.Dense(12, activation="relu")(layers.Embedding(10, 8)(item)))
    return keras.Model([user, item], layers.Dot(1)([layers.Dense(8)(one), other]))


def _cross(keras: Any) -> Any:
    layers = keras.layers
    kinds = keras.Input((3,), dtype="int64", name="kinds")
    numbers = keras.Input((4,), name="numbers")
    x = layers.Flatten()(layers.Embedding(10, 4)(kinds))
    start = x = layers.Concatenate()([x, numbers])
    for _ in range(2):
        x = layers.Add()([layers.Multiply()([start, layers.Dense(16)(x)]), x])
    deep = layers.Dense(12, activation="relu")(start)
    return keras.Model([kinds, numbers], layers.Dense(1)(layers.Concatenate()([x, deep])))


def _wide_and_deep(keras: Any) -> Any:
    layers = keras.layers
    row, kind = keras.Input((6,), name="row"), keras.Input((1,), dtype="int64", name="kind")
    deep = layers.Flatten()(layers.Embedding(12, 5)(kind))
    deep = layers.Dense(8, activation="relu")(layers.Concatenate()([row, deep]))
    wide = layers.CategoryEncoding(12, output_mode="one_hot")(kind)
    both = layers.Add()([layers.Dense(1)(deep), layers.Dense(1)(wide)])
    return keras.Model([row, kind], layers.Activation("sigmoid")(both))


def _factorization(keras: Any) -> Any:
    layers, ops = keras.layers, keras.ops
    kinds = keras.Input((4,), dtype="int64", name="kinds")
    x = layers.Embedding(20, 6)(kinds)
    pairs = ops.square(ops.sum(x, axis=1)) - ops.sum(ops.square(x), axis=1)
    deep = layers.Dense(8, activation="relu")(layers.Flatten()(x))
    return keras.Model(kinds, layers.Dense(1)(layers.Concatenate()([pairs, deep])))


def _actor_critic(keras: Any) -> Any:
    layers = keras.layers
    state = keras.Input((6,), name="state")
    x = layers.Dense(16, activation="tanh")(state)
    actor = layers.Dense(3, activation="softmax", name="actor")(layers.Dense(8)(x))
    return keras.Model(state, [actor, layers.Dense(1, name="critic")(x)])


def _masked_policy(keras: Any) -> Any:
    layers, ops = keras.layers, keras.ops
    state, allowed = keras.Input((6,), name="state"), keras.Input((4,), name="allowed")
    logits = layers.Dense(4)(layers.Dense(16, activation="relu")(state))
    return keras.Model([state, allowed], ops.where(allowed > 0.5, logits, -1e9))


def _dueling(keras: Any) -> Any:
    layers, ops = keras.layers, keras.ops
    state = keras.Input((6,), name="state")
    x = layers.Dense(16, activation="relu")(state)
    gain = layers.Dense(4)(layers.Dense(8, activation="relu")(x))
    value = layers.Dense(1)(layers.Dense(8, activation="relu")(x))
    return keras.Model(state, value + gain - ops.mean(gain, axis=1, keepdims=True))


def _mixture(keras: Any) -> Any:
    layers, ops = keras.layers, keras.ops
    row = keras.Input((6,), name="row")
    gate = layers.Dense(3, activation="softmax")(row)
    experts = [layers.Dense(5)(layers.Dense(8, activation="relu")(row)) for _ in range(3)]
    stacked = ops.stack(experts, axis=1)
    return keras.Model(row, ops.sum(stacked * ops.expand_dims(gate, -1), axis=1))


def _sentinel(keras: Any) -> Any:
    layers, ops = keras.layers, keras.ops
    row = keras.Input((6,), name="row")
    known = ops.cast(ops.not_equal(row, -999.0), "float32")
    x = layers.Concatenate()([row * known, known])
    return keras.Model(row, layers.Dense(2)(layers.Dense(12, activation="relu")(x)))


def _graph_layer(keras: Any) -> Any:
    layers, ops = keras.layers, keras.ops
    nodes, edges = keras.Input((5, 4), name="nodes"), keras.Input((5, 5), name="edges")
    x = nodes
    for _ in range(2):
        x = layers.Dense(8, activation="relu")(ops.matmul(edges, x))
    return keras.Model([nodes, edges], layers.Dense(2)(ops.mean(x, axis=1)))


def _point_cloud(keras: Any) -> Any:
    layers = keras.layers
    x = points = keras.Input((10, 3), name="points")
    for filters in (8, 12):
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv1D(filters, 1)(x)))
    return keras.Model(points, layers.Dense(4)(layers.GlobalMaxPooling1D()(x)))


def _with_missing(rng: np.random.Generator, count: int) -> Any:
    rows = rng.normal(size=(count, 6)).astype("float32")
    return np.where(rng.random((count, 6)) < 0.2, np.float32(-999), rows)


ARCHITECTURES = (
    Architecture("perceptron", _perceptron),
    Architecture("bag of words", _bag_of_words, {"words": ones(40)}),
    Architecture("normalized table", _normalized, {"kind": words(_USERS[:6], 1)}),
    Architecture("two towers", _two_towers, {"user": words(_USERS), "item": integers(10)}),
    Architecture("cross network", _cross, {"kinds": integers(10, 3)}),
    Architecture("wide and deep", _wide_and_deep, {"kind": integers(12, 1)}),
    Architecture("factorization machine", _factorization, {"kinds": integers(20, 4)}),
    Architecture("actor and critic", _actor_critic),
    Architecture("masked policy", _masked_policy, {"allowed": ones(4, share=0.6)}),
    Architecture("dueling", _dueling),
    Architecture("mixture of experts", _mixture),
    Architecture("missing values", _sentinel, {"row": _with_missing}),
    Architecture("graph layers", _graph_layer, {"edges": ones(5, 5, share=0.4)}),
    Architecture("point cloud", _point_cloud),
)
