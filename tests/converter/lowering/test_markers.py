"""Markers: Keras' classes are as they were afterwards, and foreign Python code is refused."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest

from converter.lowering.layers.table import marked_layers
from converter.lowering.markers import Replacement, replaced
from runtimes.errors import UnsupportedOperator


def test_methods_are_put_back(keras: Any) -> None:
    layers = keras.layers
    replaceable = [(layers.RNN, "inner_loop"), (layers.Bidirectional, "call")]
    before = [vars(owner)[method] for owner, method in replaceable]
    during = []
    with contextlib.suppress(KeyError), marked_layers():
        during = [vars(owner)[method] for owner, method in replaceable]
        raise KeyError
    assert not set(during) & set(before)
    assert [vars(owner)[method] for owner, method in replaceable] == before


def test_a_replacement_may_decline(keras: Any) -> None:
    class Layer:
        def call(self, x: int) -> int:
            return x + 1

    def only_even(_layer: Layer, x: int) -> Any:
        return 10 * x if x % 2 == 0 else NotImplemented

    with replaced([Replacement(Layer, "call", only_even)]):
        assert [Layer().call(x) for x in (2, 3)] == [20, 4]
    assert Layer().call(2) == 3


def test_python_code_of_the_user_is_refused_by_name(keras: Any) -> None:
    import tensorflow as tf

    from converter.export.export import export

    class Calls(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return tf.ensure_shape(tf.numpy_function(np.sin, [x], tf.float32), x.shape)

    tensor = keras.Input((4,))
    model = keras.Model(tensor, Calls(name="calls_python")(tensor))
    with pytest.raises(UnsupportedOperator, match=r"'calls_python'.*PyFunc"):
        export(model)


def test_nodes_name_their_layer(keras: Any) -> None:
    from converter.export.export import export

    inner = keras.Sequential([keras.Input((7, 5)), keras.layers.LSTM(4, name="lstm")], name="inner")
    tensor = keras.Input((7, 5))
    exported = export(keras.Model(tensor, inner(tensor)))
    layers = {n.op_type: n.metadata_props["kilnx.layer"] for n in exported.graph}
    assert layers["LSTM"] == "inner/lstm"
