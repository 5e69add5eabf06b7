"""Rolling by as much as a size says that is only known at run time."""

from __future__ import annotations

from typing import Any

import numpy as np


def test_halves_change_places(keras: Any, parity: Any) -> None:
    import tensorflow as tf

    def call(x: Any) -> Any:
        return [tf.signal.fftshift(x, axes=[1]), tf.roll(x, -tf.shape(x)[1:] // 2, [1, -1])]

    tensor = keras.Input((None, None))
    model = keras.Model(tensor, keras.layers.Lambda(call)(tensor))
    rng = np.random.default_rng(0)
    parity(model, [[rng.normal(size=size).astype(np.float32)] for size in ((1, 5, 4), (2, 8, 3))])


def test_cosines_of_a_length_known_at_run_time(keras: Any, parity: Any) -> None:
    """A complex number from a number and a row."""
    import tensorflow as tf

    tensor = keras.Input((None,))
    layer = keras.layers.Lambda(lambda x: tf.signal.dct(x[:, : tf.shape(x)[1] // 2 * 2]))
    rng = np.random.default_rng(0)
    model = keras.Model(tensor, layer(tensor))
    parity(model, [[rng.normal(size=(2, size)).astype(np.float32)] for size in (8, 12)])
