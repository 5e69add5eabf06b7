"""Refusals name the layer, every operator and the way out."""

from __future__ import annotations

from typing import Any

import pytest

from converter.export.export import export
from converter.export.refusals import refusal
from runtimes.errors import UnsupportedOperator


def test_layers_are_named_once_with_all_their_operators() -> None:
    error = refusal(
        [("hash/b:0", "StringB"), ("other/c", "C"), ("hash/a", "StringA"), ("lost", "D")],
        {"hash", "other"},
    )
    assert str(error).startswith(
        "the layer 'hash' uses the TensorFlow operators StringA, StringB "
        "and the layer 'other' uses the TensorFlow operator C "
        "and the operator 'lost' uses the TensorFlow operator D, with no ONNX form; "
    )
    assert "move it out of the model" in str(error)


def test_two_layers_are_refused_together(keras: Any) -> None:
    tensor = keras.Input((1,), dtype="string")
    first = keras.layers.Hashing(5, name="first")
    second = keras.layers.Hashing(7, salt=[1, 2], name="second")
    model = keras.Model(tensor, [first(tensor), second(tensor)])
    with pytest.raises(UnsupportedOperator, match=r"'first'.*Fast.*'second'.*Strong"):
        export(model)


def test_an_operator_within_a_branch_is_found(keras: Any) -> None:
    import tensorflow as tf

    class Branch(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return tf.cond(
                tf.size(x) > 1,
                lambda: tf.strings.to_hash_bucket_fast(x, 5),
                lambda: tf.zeros(tf.shape(x), tf.int64),
            )

        def compute_output_spec(self, x: Any) -> Any:
            return keras.KerasTensor(x.shape, dtype="int64")

    tensor = keras.Input((1,), dtype="string")
    with pytest.raises(UnsupportedOperator, match=r"StringToHashBucketFast"):
        export(keras.Model(tensor, Branch(name="branch")(tensor)))


@pytest.mark.parametrize("function", ["py_function", "numpy_function"])
def test_python_inside_the_graph_is_refused(keras: Any, function: str) -> None:
    import tensorflow as tf

    def doubled(x: Any) -> Any:
        result = getattr(tf, function)(lambda y: 2 * y, [x], tf.float32)
        return tf.ensure_shape(result, (None, 3))

    tensor = keras.Input((3,))
    layer = keras.layers.Lambda(doubled, name="python")
    with pytest.raises(UnsupportedOperator, match=r"'python'.*PyFunc"):
        export(keras.Model(tensor, layer(tensor)))
