"""Kernels as they were saved once: what the layer computes is what it computed then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.keras_models.legacy_weights import conversion
from runtimes.keras_models.load import load_keras_model


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def random(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def keras1_chain(shape: list[int], layer: dict[str, Any]) -> dict[str, Any]:
    layer["config"] |= {"name": "it", "batch_input_shape": [None, *shape]}
    return {"class_name": "Sequential", "config": [layer]}


Write = Callable[..., Path]


def test_a_kernel_of_theano_in_channels_first(keras2_hdf5: Write) -> None:
    """Keras 1 on Theano stored (filters, channels, rows, columns), turned by half a circle."""
    kernel, bias = random(4, 2, 3, 3), random(4)
    options = {"nb_filter": 4, "nb_row": 3, "nb_col": 3, "dim_ordering": "th", "bias": True}
    layer = {"class_name": "Convolution2D", "config": options}
    weights = {"it": {"it_W": kernel, "it_b": bias}}
    import h5py

    path = keras2_hdf5(keras1_chain([2, 5, 5], layer), weights, version=None)
    with h5py.File(path, "a") as file:
        file["model_weights"].attrs["backend"] = b"theano"
    found = load_keras_model(path).layers[-1].kernel
    # A convolution with this kernel is a correlation with the kernel turned.
    turned = kernel[:, :, ::-1, ::-1].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(found, turned)


def test_gates_of_an_lstm_by_themselves(keras2_hdf5: Write) -> None:
    units, features = 3, 2
    saved = {
        f"it_{what}_{gate}": random(*shape, seed=ord(gate))
        for gate in "icfo"
        for what, shape in (("W", (features, units)), ("U", (units, units)), ("b", (units,)))
    }
    options = {"output_dim": units, "inner_activation": "sigmoid", "activation": "tanh"}
    layer = {"class_name": "LSTM", "config": options}
    path = keras2_hdf5(keras1_chain([4, features], layer), {"it": saved}, version=None)
    x = random(1, 4, features)
    h = c = np.zeros((1, units))
    for step in range(4):
        i, f, o, candidate = (
            x[:, step] @ saved[f"it_W_{g}"] + h @ saved[f"it_U_{g}"] + saved[f"it_b_{g}"]
            for g in "ifoc"
        )
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(candidate)
        h = sigmoid(o) * np.tanh(c)
    np.testing.assert_allclose(load_keras_model(path)(x), h, atol=1e-5)


def test_gates_of_a_gru_by_themselves(keras2_hdf5: Write) -> None:
    units, features = 3, 2
    saved = {
        f"it_{what}_{gate}": random(*shape, seed=ord(gate))
        for gate in "zrh"
        for what, shape in (("W", (features, units)), ("U", (units, units)), ("b", (units,)))
    }
    options = {"output_dim": units, "inner_activation": "sigmoid", "activation": "tanh"}
    layer = {"class_name": "GRU", "config": options}
    path = keras2_hdf5(keras1_chain([4, features], layer), {"it": saved}, version=None)
    x = random(1, 4, features)
    h = np.zeros((1, units))
    for step in range(4):
        z, r, inner = (x[:, step] @ saved[f"it_W_{g}"] + saved[f"it_b_{g}"] for g in "zrh")
        z, r = (sigmoid(gate + h @ saved[f"it_U_{g}"]) for gate, g in ((z, "z"), (r, "r")))
        h = z * h + (1 - z) * np.tanh(inner + (r * h) @ saved["it_U_h"])
    np.testing.assert_allclose(load_keras_model(path)(x), h, atol=1e-5)


class LSTM:
    """Stands for a layer by its class name."""


class GRU:
    """Likewise."""


@given(
    st.sampled_from([(LSTM, 4), (GRU, 3)]),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 99),
)
def test_layers_for_cudnn(kind: tuple[type, int], units: int, features: int, seed: int) -> None:
    """cuDNN keeps each gate's matrix as (units, features), and a bias for either product."""
    cls, gates = kind
    matrices = [random(units, features, seed=seed + gate) for gate in range(gates)]
    recurrent = [random(units, units, seed=seed + gate) for gate in range(gates)]
    biases = random(2, gates * units, seed=seed)
    saved = [
        np.concatenate([matrix.reshape(features, units) for matrix in matrices], 1),
        np.concatenate(recurrent, 1),
        biases.reshape(-1),
    ]
    kernel, recurrent_kernel, bias = conversion(2, "tensorflow")(cls(), saved)
    np.testing.assert_array_equal(kernel, np.concatenate([matrix.T for matrix in matrices], 1))
    np.testing.assert_array_equal(recurrent_kernel, np.concatenate([r.T for r in recurrent], 1))
    np.testing.assert_array_equal(bias, biases.sum(0) if cls is LSTM else biases)


def test_what_is_as_it_is_today_stays(keras: Any) -> None:
    dense, lstm = keras.layers.Dense(3), keras.layers.LSTM(3)
    weights = [random(2, 12), random(3, 12), random(12)]
    assert all(a is b for a, b in zip(conversion(2, None)(lstm, weights), weights, strict=True))
    kernel = [random(2, 3)]
    assert conversion(1, "theano")(dense, kernel)[0] is kernel[0]


@pytest.mark.parametrize("merge", ["concat", None])
def test_both_directions(keras: Any, merge: str | None) -> None:
    layer = keras.layers.Bidirectional(keras.layers.GRU(3), merge_mode=merge)
    saved = [random(*shape, seed=i) for i in range(6) for shape in ((2, 3), (3, 3), (3,))]
    converted = conversion(1, None)(layer, saved)
    assert [array.shape for array in converted] == [(2, 9), (3, 9), (9,)] * 2
    np.testing.assert_array_equal(converted[3], np.concatenate([saved[9], saved[12], saved[15]], 1))
