"""Layers that wrap a model of another library."""

from __future__ import annotations

import tempfile
from pathlib import Path

from layer_cases.case import Case, Refusal, case

COMPILED = Refusal("XlaCallModule", "JAX hands TensorFlow a compiled program")


def cases() -> list[Case]:
    # TorchModuleWrapper runs on Keras' Torch backend alone, whose models come as saved files.
    return [
        case("TFSMLayer", (8,), variant="saved_keras_model", make=_saved_keras_model),
        case("TFSMLayer", (8,), variant="saved_module", make=_saved_module),
        case("JaxLayer", (8,), needs="jax", refused=COMPILED, variant="function", make=_jax_layer),
        case("FlaxLayer", (8,), needs="flax", refused=COMPILED, variant="Dense", make=_flax_layer),
        case("TorchModuleWrapper", (8,), needs="torch", variant="Linear", make=_torch_module),
    ]


def _saved_keras_model(keras):  # type: ignore[no-untyped-def]
    inner = keras.Sequential([keras.Input((8,)), keras.layers.Dense(5, activation="tanh")])
    folder = Path(tempfile.mkdtemp(prefix="kilnx-layer-")) / "saved"
    inner.export(folder, verbose=False)
    return keras.layers.TFSMLayer(folder, call_endpoint="serve")


def _saved_module(keras):  # type: ignore[no-untyped-def]
    import tensorflow as tf

    class Affine(tf.Module):
        def __init__(self):  # type: ignore[no-untyped-def]
            super().__init__()
            self.scale = tf.Variable(tf.random.stateless_normal((8,), (1, 2)))

        @tf.function(input_signature=[tf.TensorSpec((None, 8), tf.float32)])
        def __call__(self, x):  # type: ignore[no-untyped-def]
            return {"scaled": x * self.scale, "sum": tf.reduce_sum(x, axis=-1)}

    folder = Path(tempfile.mkdtemp(prefix="kilnx-layer-")) / "saved"
    module = Affine()
    tf.saved_model.save(module, folder, signatures=module.__call__)
    return keras.layers.TFSMLayer(folder, call_endpoint="serving_default")


def _jax_layer(keras):  # type: ignore[no-untyped-def]
    import jax.numpy as jnp

    return keras.layers.JaxLayer(
        call_fn=lambda params, inputs: jnp.tanh(inputs @ params),
        init_fn=lambda rng, inputs: jnp.ones((8, 5)),
    )


def _flax_layer(keras):  # type: ignore[no-untyped-def]
    import flax.linen

    return keras.layers.FlaxLayer(flax.linen.Dense(5))


def _torch_module(keras):  # type: ignore[no-untyped-def]
    import torch

    return keras.layers.TorchModuleWrapper(torch.nn.Linear(8, 5))
