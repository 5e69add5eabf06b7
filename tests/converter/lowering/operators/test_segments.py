"""Segments: what has no rows, ids that are negative, and opsets without the reduction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtimes.errors import UnsupportedOperator


def reduced(keras: Any, name: str) -> Any:
    import tensorflow as tf

    rows, ids = keras.Input(batch_shape=(6, 2)), keras.Input(batch_shape=(6,), dtype="int32")
    function = getattr(tf.math, f"unsorted_segment_{name}")
    layer = keras.layers.Lambda(
        lambda xs: function(xs[0], tf.cast(xs[1], tf.int32), 5), name="rows"
    )
    return keras.Model([rows, ids], layer([rows, ids]))


@pytest.mark.parametrize("name", ["sum", "prod"])
def test_negative_ids_are_left_out(keras: Any, parity: Any, name: str) -> None:
    rows = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    ids = np.array([3, -1, 0, 3, -1, 1], np.int32)
    parity(reduced(keras, name), [[rows, ids]])


def test_an_opset_without_the_reduction_is_named(keras: Any) -> None:
    from converter.export.export import export

    with pytest.raises(UnsupportedOperator, match=r"UnsortedSegmentMax.*from opset 18 on"):
        export(reduced(keras, "max"), opset=17)
