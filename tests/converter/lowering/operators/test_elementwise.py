"""Functions of single elements: special functions, and products with zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

PLACES = np.array(
    [[-7.5, -2.25, -0.5, 0.001, 0.3, 1.0, 1.5, 2.0, 3.7, 7.99, 8.0, 20.0, 300.0]], np.float32
)


def applied(keras: Any, call: Callable[[Any], Any], *shape: int | None) -> Any:
    class Apply(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return call(x)

    tensor = keras.Input(shape)
    return keras.Model(tensor, Apply()(tensor))


@pytest.mark.parametrize("name", ["lgamma", "digamma"])
def test_gamma(keras: Any, parity: Any, name: str) -> None:
    import tensorflow as tf

    # Each by itself: the error is relative to the largest.
    model = applied(keras, getattr(tf.math, name), None)
    parity(model, [[PLACES[:, i : i + 1]] for i in range(PLACES.shape[1])])


@pytest.mark.parametrize("name", ["lgamma", "digamma"])
def test_gamma_at_its_poles(keras: Any, name: str) -> None:
    import onnx_ir as ir
    import onnxruntime
    import tensorflow as tf

    from converter.export.export import export

    model = export(applied(keras, getattr(tf.math, name), None))
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    poles = np.array([[0.0, -1.0, -6.0]], np.float32)
    (found,) = session.run(None, {session.get_inputs()[0].name: poles})
    assert not np.isfinite(found).any()


@pytest.mark.parametrize("name", ["multiply_no_nan", "xlogy", "xlog1py", "xdivy"])
def test_zero_times_anything(keras: Any, parity: Any, name: str) -> None:
    import tensorflow as tf

    def call(x: Any) -> Any:
        positive = tf.nn.relu(x)
        other = tf.math.divide_no_nan(1.0, positive) if name == "multiply_no_nan" else positive
        return getattr(tf.math, name)(positive, other)

    parity(applied(keras, call, 5), [[np.array([[-1, 0, 0.5, 2, 3]], np.float32)]])


@pytest.mark.parametrize("keepdims", [True, False])
def test_euclidean_norm(keras: Any, parity: Any, *, keepdims: bool) -> None:
    import tensorflow as tf

    model = applied(keras, lambda x: tf.math.reduce_euclidean_norm(x, -1, keepdims), 5)
    parity(model, [[np.array([[-1, 0, 0.5, 2, 3]], np.float32)]])


@pytest.mark.parametrize("size", [5, None])
@pytest.mark.parametrize("reverse", [True, False])
@pytest.mark.parametrize("exclusive", [True, False])
def test_cumulated_exponentials(
    keras: Any, parity: Any, *, size: int | None, reverse: bool, exclusive: bool
) -> None:
    import tensorflow as tf

    def call(x: Any) -> Any:
        total = tf.math.cumulative_logsumexp(x, -1, exclusive=exclusive, reverse=reverse)
        return tf.maximum(total, -1000.0)

    values = np.array([[-1, 80, 0.5, -np.inf, 90]], np.float32)
    parity(applied(keras, call, size), [[values]])
